"""Where a file is on a branch that does not have it under its name.

Three ways, the surest first: the names it had before the fix, by history; the very same content elsewhere;
the most similar file among those that only the branch has, as ``git diff -C`` judges. Only files of the upstream commit
are searched for; its backports are then tried under the names that were found.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.backports.history import literal
from haulout.backports.naming import is_code
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.trees import GITLINK, SYMLINK, Entry
from haulout.errors import HauloutError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from haulout.backports.model import Change, Patch
    from haulout.backports.repository import Repository

_MOST: Final = 2000
"""Files of a branch compared with one that is missing; beyond, only those with its name."""
_SIMILAR: Final = 50
"""Percent that two files must have in common to be taken for one."""
_FOLLOWED: Final = 6
"""Files that are followed through history; others are found where those were, or by content."""
_FOLLOW: Final = ("--follow", f"-M{_SIMILAR}%", "--diff-filter=R", "--name-status", "--format=", "-z")


@dataclass(slots=True)
class Renames:
    """Finds moved files; remembers what it found."""

    repository: Repository
    objects: ScratchObjects
    _earlier: dict[tuple[str, str, str | None], tuple[str, ...]] = field(default_factory=dict)
    _forks: dict[tuple[str, ...], str | None] = field(default_factory=dict)
    _names: dict[str, set[str]] = field(default_factory=dict)
    """Names that are known to mean one file, by each of them."""
    _found: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _added: dict[tuple[str, str], dict[str, Entry]] = field(default_factory=dict)
    _folders: dict[str, dict[str, None]] = field(default_factory=dict)
    """Where files of a folder were earlier, each with a slash at its end, by folder."""
    _followed: int = 0

    def search(self, patch: Patch, tips: Mapping[str, str]) -> None:
        """Look for the files of an upstream patch on all branches at once.

        Args:
            patch: of one commit.
            tips: the branches' last commits, by their root trees.
        """
        before = self._before(patch)
        lacking: list[tuple[Change, list[str]]] = []
        for change in sorted(patch.changes, key=lambda one: (not is_code(one.path), one.path)):
            if change.old is None:
                continue
            try:
                without = [tree for tree in tips if self.objects.at(tree, change.path) is None]
            except MissingObject:
                continue
            left = self._by_history(patch.commits[0], change.path, {tree: tips[tree] for tree in without})
            if left and change.old.mode not in {SYMLINK, GITLINK}:
                lacking.append((change, left))
        if before is not None and lacking:
            self._by_content(before, lacking)

    def find(self, tree: str, path: str) -> str | None:
        """Return the name under which a branch has a file that it does not have under this one, or None."""
        found = self._found.get((tree, path))
        if found is not None:
            return found
        return next(
            (name for name in sorted(self._names.get(path, ())) if self.objects.at(tree, name) is not None), None
        )

    def added(self, before: str, tree: str) -> dict[str, Entry]:
        """Return the files that one tree has and another does not."""
        if (before, tree) not in self._added:
            self._added[before, tree] = dict(self._only_there(before, tree))
        return self._added[before, tree]

    def _by_history(self, commit: str, path: str, tips: Mapping[str, str]) -> list[str]:
        """Look for a file under its earlier names; return the branches that have none of them.

        Following a file costs a walk through history. So it is looked for first where others of its folder were, and
        it is followed only to where the branches began, and not if it had this name there: then a branch moved it.
        """
        folder, _, name = path.rpartition("/")
        left = self._placed(path, [f"{one}{name}" for one in self._folders.get(folder, ())], list(tips))
        if not left or self._followed >= _FOLLOWED:
            return left
        fork = self._fork(commit, sorted({tips[tree] for tree in left}))
        if fork is not None and self._has(fork, path):
            return left
        self._followed += 1
        earlier = self._follow(commit, path, fork)
        for one in earlier:
            there, slash, was = one.rpartition("/")
            if was == name:
                self._folders.setdefault(folder, {})[f"{there}{slash}"] = None
        self._same_file(path, *earlier)
        return self._placed(path, earlier, left)

    def _placed(self, path: str, names: Sequence[str], trees: Sequence[str]) -> list[str]:
        left = []
        for tree in trees:
            place = next((name for name in names if self.objects.at(tree, name) is not None), None)
            if place is None:
                left.append(tree)
            else:
                self._found[tree, path] = place
                self._same_file(path, place)
        return left

    def _by_content(self, before: str, lacking: Sequence[tuple[Change, list[str]]]) -> None:
        """Look for files by what is in them, among those that only a branch has."""
        own = {tree: self.added(before, tree) for _, trees in lacking for tree in trees}
        scores = self._similar([change for change, _ in lacking], own)
        places: dict[str, dict[str, str]] = {tree: {} for tree in own}
        for tree, files in own.items():
            for path in sorted(files):
                places[tree].setdefault(files[path].oid, path)
        for change, trees in lacking:
            known = scores[change.path]
            for tree in trees:
                here = [(score, places[tree][oid]) for oid, score in known.items() if oid in places[tree]]
                # Under the same score, the first name.
                best = min(here, key=lambda one: (-one[0], one[1]), default=None)
                if best is not None and best[0] >= _SIMILAR:
                    self._found[tree, change.path] = best[1]
                    self._same_file(change.path, best[1])

    def _same_file(self, *names: str) -> None:
        group = set(names).union(*(self._names.get(name, set()) for name in names))
        for name in group:
            self._names[name] = group

    def _before(self, patch: Patch) -> str | None:
        try:
            parents = self.objects.commit(patch.commits[0]).parents
            return self.objects.commit(parents[0]).tree if parents else self.objects.empty_tree
        except MissingObject:
            return None

    def _fork(self, commit: str, tips: Sequence[str]) -> str | None:
        """Return the last commit that a commit and all branches share, or None."""
        asked = (commit, *tips)
        if asked not in self._forks:
            done = self.repository.git.run("merge-base", "--octopus", *asked, ok=(0, 1, 128))
            self._forks[asked] = done.text.partition("\n")[0] if done.code == 0 else None
        return self._forks[asked] or None

    def _has(self, commit: str, path: str) -> bool:
        try:
            return self.objects.at(self.objects.commit(commit).tree, path) is not None
        except MissingObject:
            return False

    def _follow(self, commit: str, path: str, fork: str | None) -> tuple[str, ...]:
        """Return the names a file had before a commit and since another, latest first."""
        key = (commit, path, fork)
        if key not in self._earlier:
            since = [f"^{fork}"] if fork is not None else []
            try:
                fields = self.repository.git.run("log", *_FOLLOW, commit, *since, "--", *literal([path])).fields
            except HauloutError:
                # Older history is not in this clone: the other two ways remain.
                fields = []
            # R100, old name, new name.
            self._earlier[key] = tuple(dict.fromkeys(fields[1::3]))
        return self._earlier[key]

    def _only_there(self, before: str, tree: str) -> Iterator[tuple[str, Entry]]:
        try:
            for path, old, new in self.objects.changes(before, tree):
                if old is None and new is not None and new.mode not in {SYMLINK, GITLINK}:
                    yield path, new
        except MissingObject:
            return

    def _similar(self, changes: Sequence[Change], own: dict[str, dict[str, Entry]]) -> dict[str, dict[str, int]]:
        """Return how much files have in common with missing ones, in percent, by path of these and blob."""
        scores = {
            change.path: {entry.oid: 100 for entry in (change.old, change.new) if entry is not None}
            for change in changes
        }
        wanted = {posixpath.basename(change.path) for change in changes}
        suffixes = {posixpath.splitext(name)[1] for name in wanted}
        near: dict[str, Entry] = {}
        for files in own.values():
            like = {path: entry for path, entry in files.items() if posixpath.splitext(path)[1] in suffixes}
            if len(like) > _MOST:
                like = {path: entry for path, entry in like.items() if posixpath.basename(path) in wanted}
            near |= {entry.oid: entry for entry in like.values()}
        if len(near) > _MOST:
            names = {
                entry.oid
                for files in own.values()
                for path, entry in files.items()
                if path.rpartition("/")[2] in wanted
            }
            near = {oid: entry for oid, entry in near.items() if oid in names}
        self.objects.has_all(near)
        near = {oid: entry for oid, entry in near.items() if self.objects.has(oid)}
        missing = {
            str(number): change.old
            for number, change in enumerate(changes)
            if change.old is not None and self.objects.has(change.old.oid)
        }
        if not near or not missing:
            return scores
        before = self.objects.write_tree(missing)
        after = self.objects.write_tree(near)
        limits = (f"-C{_SIMILAR}%", "-l0")
        how = ("-r", "-z", "--name-status", "--diff-filter=RC", *limits)
        fields = self.objects.git.run("diff-tree", *how, before, after).fields
        # R087 or C055, the number, and the name, which is the blob's id.
        for score, number, oid in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
            scores[changes[int(number)].path].setdefault(oid, int(score[1:] or 0))
        return scores
