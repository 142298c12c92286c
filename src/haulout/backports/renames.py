"""Where a file is on a branch that does not have it under its name.

Three ways, the surest first: the names it had before the fix, as history tells them; the very same content elsewhere;
the most similar file among those that only the branch has, as ``git diff -M`` judges.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.backports.git import decode
from haulout.backports.history import literal
from haulout.backports.objects import GITLINK, SYMLINK
from haulout.errors import HauloutError

if TYPE_CHECKING:
    from haulout.backports.model import Change, Patch
    from haulout.backports.objects import Bench, Entry
    from haulout.backports.repository import Repository

_MOST: Final = 2000
"""Files of a branch compared with one that is missing; beyond, only those with its name."""
_SIMILAR: Final = "-M50%"


@dataclass(slots=True)
class Renames:
    """Finds moved files; remembers what it found."""

    repository: Repository
    bench: Bench
    _earlier: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    _found: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    _own: dict[tuple[str, str], dict[str, Entry]] = field(default_factory=dict)

    def find(self, tree: str, patch: Patch, change: Change) -> str | None:
        """Return the name under which a branch has a file that a patch changes, or None."""
        commit = patch.commits[0]
        key = (tree, commit, change.path)
        if key not in self._found:
            self._found[key] = self._find(tree, commit, change)
        return self._found[key]

    def _find(self, tree: str, commit: str, change: Change) -> str | None:
        assert change.old is not None
        for name in self._names(commit, change.path):
            if self.bench.at(tree, name) is not None:
                return name
        if change.old.mode in {SYMLINK, GITLINK}:
            return None
        own = self._only_there(commit, tree)
        for name, entry in own.items():
            if change.old.oid == entry.oid or (change.new is not None and change.new.oid == entry.oid):
                return name
        return self._similar(change, own)

    def _names(self, commit: str, path: str) -> tuple[str, ...]:
        """Return the names a file had before a commit, latest first."""
        key = (commit, path)
        if key not in self._earlier:
            self._earlier[key] = self._follow(commit, path)
        return self._earlier[key]

    def _follow(self, commit: str, path: str) -> tuple[str, ...]:
        try:
            raw = self.repository.git.run(
                "log",
                "--follow",
                _SIMILAR,
                "--diff-filter=R",
                "--name-status",
                "--format=",
                "-z",
                commit,
                "--",
                *literal([path]),
            ).out
        except HauloutError:
            # Older history is not in this clone: the other two ways remain.
            return ()
        fields = [part for part in decode(raw).split("\0") if part]
        # R100, old name, new name.
        return tuple(dict.fromkeys(fields[1::3]))

    def _only_there(self, commit: str, tree: str) -> dict[str, Entry]:
        base = self.bench.commit(commit).parents
        before = self.bench.commit(base[0]).tree if base and self.bench.has(base[0]) else self.bench.empty_tree
        key = (before, tree)
        if key not in self._own:
            self._own[key] = {
                path: new
                for path, old, new in self.bench.changes(before, tree)
                if old is None and new is not None and new.mode not in {SYMLINK, GITLINK}
            }
        return self._own[key]

    def _similar(self, change: Change, own: dict[str, Entry]) -> str | None:
        assert change.old is not None
        wanted = posixpath.basename(change.path)
        suffix = posixpath.splitext(wanted)[1]
        near = {path: entry for path, entry in own.items() if posixpath.splitext(path)[1] == suffix}
        if len(near) > _MOST:
            near = {path: entry for path, entry in near.items() if posixpath.basename(path) == wanted}
        if not near or not self.bench.has(change.old.oid):
            return None
        before = self.bench.write_tree({change.path: change.old})
        after = self.bench.write_tree({path: entry for path, entry in near.items() if self.bench.has(entry.oid)})
        raw = self.bench.git.run(
            "diff-tree", "-r", "-z", "--name-status", "--diff-filter=R", _SIMILAR, "-l0", before, after
        ).out
        fields = [part for part in decode(raw).split("\0") if part]
        return fields[2] if len(fields) >= 3 else None
