"""Merge commits onto branches as ``git cherry-pick`` does, renames of files and folders included, without a checkout.

Only what can matter for the result is merged: the files that the commit changes, those that git may take for them under
other names, and of every folder enough that git sees it is there. So a merge costs what the commit is, not what the
library is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from haulout.backports.git import decode, encode
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.trees import GITLINK, SYMLINK, TREE, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from haulout.backports.model import Patch
    from haulout.backports.renames import Renames
    from haulout.backports.repository import Repository

_SETTINGS: Final = r"^(merge\.(renames|directoryrenames|renamelimit)|diff\.(renames|renamelimit))$"
"""Settings of a user that change what a pick leads to."""
_NAMESAKES: Final = 20
"""Files of the name of one that is gone which git is shown."""
_FOLDER: Final = 500
"""Files of a folder that is gone which are looked for elsewhere."""


class Merge(NamedTuple):
    """What a merge led to."""

    conflicts: tuple[str, ...]
    changes: tuple[tuple[str, Entry | None], ...]
    """What becomes of files of the branch; None: it goes."""


@dataclass(frozen=True)
class _Sides:
    """The three trees of a merge, as far as they matter."""

    base: dict[str, Entry] = field(default_factory=dict)
    ours: dict[str, Entry] = field(default_factory=dict)
    theirs: dict[str, Entry] = field(default_factory=dict)

    def read(self) -> Iterator[str]:
        """Yield the files whose content a merge may look at; where ids decide, it does not."""
        for path in {*self.base, *self.ours, *self.theirs}:
            three = [side.get(path) for side in (self.base, self.ours, self.theirs)]
            if None in three or len(set(three)) == len(three):
                yield from (entry.oid for entry in three if entry is not None and entry.mode != GITLINK)


@dataclass
class Merger:
    """Merges commits onto branches; remembers what came out."""

    repository: Repository
    objects: ScratchObjects
    renames: Renames
    _known: dict[tuple[str, str, str, tuple[str, ...]], Merge] = field(default_factory=dict)

    @cached_property
    def _settings(self) -> tuple[str, ...]:
        done = self.repository.git.run("config", "-z", "--get-regexp", _SETTINGS, ok=(0, 1))
        pairs = {"merge.renames": "true", "merge.directoryrenames": "conflict"}
        pairs |= {name: value for name, _, value in (one.partition("\n") for one in done.fields)}
        return tuple(word for name, value in pairs.items() for word in ("-c", f"{name}={value}"))

    def all(self, wanted: Iterable[tuple[str, Patch, tuple[str, ...]]]) -> list[Merge | None]:
        """Merge patches of one commit each onto trees, all at once; None: not everything is in this clone.

        Args:
            wanted: root trees, patches, and lines of attributes for the files, where they have any that matter.
        """
        keys: list[tuple[str, str, str, tuple[str, ...]] | None] = []
        sides: dict[tuple[str, str, str, tuple[str, ...]], _Sides] = {}
        for tree, patch, attributes in wanted:
            try:
                three = self._sides(tree, patch)
                self.objects.copy(three.read())
            except MissingObject:
                keys.append(None)
                continue
            base, ours, theirs = (self.objects.write_tree(one) for one in (three.base, three.ours, three.theirs))
            keys.append((base, ours, theirs, attributes))
            sides[base, ours, theirs, attributes] = three
        for rules in {key[3] for key in sides}:
            self._merge([key for key in sides if key not in self._known and key[3] == rules], rules)
        return [None if key is None else self._known[key] for key in keys]

    def _merge(self, keys: Sequence[tuple[str, str, str, tuple[str, ...]]], attributes: tuple[str, ...]) -> None:
        if not keys:
            return
        self.objects.attribute(attributes)
        asked = []
        for base, ours, theirs, _ in keys:
            before = self.objects.write_commit(base)
            asked.append(f"{self.objects.write_commit(ours, before)} {self.objects.write_commit(theirs, before)}\n")
        out = self.objects.isolated.run(
            *self._settings,
            "merge-tree",
            "--write-tree",
            "--stdin",
            "-z",
            "--no-messages",
            stdin=encode("".join(asked)),
        ).out
        fields = iter(decode(out).split("\0"))
        for key in keys:
            # "1" or "0" for a conflict, the tree, "<mode> <id> <stage>\t<path>" for each conflict, and an empty one.
            clean, tree = next(fields) == "1", next(fields)
            paths = dict.fromkeys(line.partition("\t")[2] for line in iter(lambda: next(fields), ""))
            changes = tuple((path, new) for path, _, new in self.objects.changes(key[1], tree)) if clean else ()
            self._known[key] = Merge(tuple(paths) if not clean else (), changes)

    def _sides(self, tree: str, patch: Patch) -> _Sides:
        sides = _Sides()
        before = patch.before or self.objects.empty_tree
        gone: dict[str, Entry] = {}
        for change in patch.changes:
            path = change.path
            ours = self.objects.at(tree, path)
            for side, entry in ((sides.base, change.old), (sides.ours, ours), (sides.theirs, change.new)):
                if entry is not None:
                    side[path] = entry
            if ours is None and change.old is not None:
                gone[path] = change.old
            self._in_the_way(tree, path, sides)
            self._folder(tree, before, path, sides, gone, new=change.old is None)
        if gone:
            self._elsewhere(tree, before, patch, sides, gone)
        return sides

    def _elsewhere(self, tree: str, before: str, patch: Patch, sides: _Sides, gone: dict[str, Entry]) -> None:
        """Add what git may take for files that are gone: those of the same content or name, and what history knows."""
        added = self.renames.added(before, tree)
        by_name: dict[str, list[str]] = {}
        by_oid: dict[str, str] = {}
        for path, entry in added.items():
            by_name.setdefault(path.rpartition("/")[2], []).append(path)
            by_oid.setdefault(entry.oid, path)
        changed = patch.paths
        for source, entry in gone.items():
            known = self.renames.find(tree, source) if source in changed else None
            places = {*by_name.get(source.rpartition("/")[2], ())[:_NAMESAKES]}
            places |= {one for one in (known, by_oid.get(entry.oid)) if one in added}
            if places:
                sides.ours.update((place, added[place]) for place in places)
                sides.base.setdefault(source, entry)
                if source not in changed:
                    sides.theirs.setdefault(source, entry)

    def _in_the_way(self, tree: str, path: str, sides: _Sides) -> None:
        """Add a file of the branch that is where a folder is needed, or a folder where the file is."""
        parts = path.split("/")
        for number in range(1, len(parts)):
            parent = "/".join(parts[:number])
            entry = self.objects.at(tree, parent)
            if entry is not None:
                sides.ours[parent] = entry
                return
        folder = self.objects.folder(tree, path)
        if folder is not None:
            name, entry = next(self.objects.files(folder))
            sides.ours[f"{path}/{name}"] = entry

    def _folder(self, tree: str, before: str, path: str, sides: _Sides, gone: dict[str, Entry], *, new: bool) -> None:
        """Let git see that a folder is there; where it is not, look for what it had: it may have another name.

        Only for new files git asks whether their folder was renamed.
        """
        folder = path.rpartition("/")[0]
        while folder:
            was, now = self.objects.folder(before, folder), self.objects.folder(tree, folder)
            if now is not None:
                self._keep(folder, now, was, sides)
                return
            if new and was is not None:
                for number, (name, entry) in enumerate(self.objects.files(was)):
                    if number < _FOLDER and entry.mode not in {SYMLINK, GITLINK}:
                        gone.setdefault(f"{folder}/{name}", entry)
                new = False
            folder = folder.rpartition("/")[0]

    def _keep(self, folder: str, now: str, was: str | None, sides: _Sides) -> None:
        """Add one file of a folder, best one that was there before."""
        files = {name: entry for name, entry in self.objects.entries(now).items() if entry.mode not in {TREE, GITLINK}}
        before = self.objects.entries(was) if was is not None else {}
        common = (name for name in files if name in before and before[name].mode not in {TREE, GITLINK})
        name = next(common, next(iter(files), None))
        path = f"{folder}/{name}"
        if name is None or path in sides.ours or path in sides.base or path in sides.theirs:
            return
        sides.ours[path] = files[name]
        if name in before and before[name].mode != TREE:
            sides.base[path] = sides.theirs[path] = before[name]
