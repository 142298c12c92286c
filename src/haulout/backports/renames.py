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
from haulout.backports.objects import GITLINK, SYMLINK, Entry, MissingObject, ScratchObjects
from haulout.errors import HauloutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from haulout.backports.model import Change, Patch
    from haulout.backports.repository import Repository

_MOST: Final = 2000
"""Files of a branch compared with one that is missing; beyond, only those with its name."""
_SIMILAR: Final = 50
"""Percent that two files must have in common to be taken for one."""
_FOLLOW: Final = ("--follow", f"-M{_SIMILAR}%", "--diff-filter=R", "--name-status", "--format=", "-z")


@dataclass(slots=True)
class Renames:
    """Finds moved files; remembers what it found."""

    repository: Repository
    objects: ScratchObjects
    _earlier: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _names: dict[str, set[str]] = field(default_factory=dict)
    """Names that are known to mean one file, by each of them."""
    _found: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def search(self, patch: Patch, trees: Iterable[str]) -> None:
        """Look for the files of an upstream patch on all branches at once.

        Args:
            patch: of one commit.
            trees: the branches' root trees.
        """
        before = self._before(patch)
        for change in patch.changes:
            if change.old is None:
                continue
            try:
                without = [tree for tree in dict.fromkeys(trees) if self.objects.at(tree, change.path) is None]
            except MissingObject:
                continue
            if without:
                self._search(patch.commits[0], before, change, without)

    def find(self, tree: str, path: str) -> str | None:
        """Return the name under which a branch has a file that it does not have under this one, or None."""
        found = self._found.get((tree, path))
        if found is not None:
            return found
        return next(
            (name for name in sorted(self._names.get(path, ())) if self.objects.at(tree, name) is not None), None
        )

    def _search(self, commit: str, before: str | None, change: Change, trees: list[str]) -> None:
        earlier = self._follow(commit, change.path)
        self._same_file(change.path, *earlier)
        left = []
        for tree in trees:
            place = next((name for name in earlier if self.objects.at(tree, name) is not None), None)
            if place is None:
                left.append(tree)
            else:
                self._found[tree, change.path] = place
        if before is None or change.old is None or change.old.mode in {SYMLINK, GITLINK}:
            return
        own = {tree: dict(self._only_there(before, tree)) for tree in left}
        scores = self._similar(change, own)
        for tree, files in own.items():
            # Under the same score, the first name.
            best = max(sorted(files), key=lambda path: scores.get(files[path].oid, 0), default=None)
            if best is not None and scores.get(files[best].oid, 0) >= _SIMILAR:
                self._found[tree, change.path] = best
                self._same_file(change.path, best)

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

    def _follow(self, commit: str, path: str) -> tuple[str, ...]:
        """Return the names a file had before a commit, latest first."""
        if path not in self._earlier:
            try:
                fields = self.repository.git.run("log", *_FOLLOW, commit, "--", *literal([path])).fields
            except HauloutError:
                # Older history is not in this clone: the other two ways remain.
                fields = []
            # R100, old name, new name.
            self._earlier[path] = tuple(dict.fromkeys(fields[1::3]))
        return self._earlier[path]

    def _only_there(self, before: str, tree: str) -> Iterator[tuple[str, Entry]]:
        try:
            for path, old, new in self.objects.changes(before, tree):
                if old is None and new is not None and new.mode not in {SYMLINK, GITLINK}:
                    yield path, new
        except MissingObject:
            return

    def _similar(self, change: Change, own: dict[str, dict[str, Entry]]) -> dict[str, int]:
        """Return how much files have in common with a missing one, in percent, by blob."""
        assert change.old is not None
        scores = {entry.oid: 100 for entry in (change.old, change.new) if entry is not None}
        wanted = posixpath.basename(change.path)
        suffix = posixpath.splitext(wanted)[1]
        near: dict[str, Entry] = {}
        for files in own.values():
            like = {path: entry for path, entry in files.items() if posixpath.splitext(path)[1] == suffix}
            if len(like) > _MOST:
                like = {path: entry for path, entry in like.items() if posixpath.basename(path) == wanted}
            near |= {entry.oid: entry for entry in like.values() if entry.oid not in scores}
        near = {oid: entry for oid, entry in near.items() if self.objects.has(oid)}
        if not near or not self.objects.has(change.old.oid):
            return scores
        before = self.objects.write_tree({"missing": change.old})
        after = self.objects.write_tree(near)
        limits = (f"-C{_SIMILAR}%", "-l0")
        how = ("-r", "-z", "--name-status", "--diff-filter=RC", *limits)
        fields = self.objects.git.run("diff-tree", *how, before, after).fields
        # R087 or C055, "missing", and the name, which is the blob's id.
        for score, oid in zip(fields[::3], fields[2::3], strict=False):
            scores[oid] = int(score[1:] or 0)
        return scores
