"""The lines of files, without the space around them: what a change adds, and whether a branch still has that."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.backports.naming import is_code
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.probe import Answer
from haulout.backports.trees import GITLINK, SYMLINK, Entry

if TYPE_CHECKING:
    from haulout.backports.model import Change
    from haulout.backports.probe import Tried

_LARGEST: Final = 1 << 20
"""Bytes of a file whose lines are compared; a larger one is merged anyway."""
_MOST: Final = 200
"""Changed files of a branch that moved lines are looked for in."""
_SAYING: Final = re.compile(rb"\w\W*\w\W*\w")
"""A line of fewer letters and digits, as a closing brace, is found everywhere."""
_KEPT: Final = 0.5
"""Part of the lines that a fix adds by which it is recognised in another place."""


@dataclass(slots=True)
class Lines:
    """Reads the lines of files; remembers them."""

    objects: ScratchObjects
    _known: dict[str, frozenset[bytes] | None] = field(default_factory=dict)

    def of(self, entry: Entry) -> frozenset[bytes] | None:
        """Return the lines of a file; None: it is too large, or no file."""
        if entry.oid not in self._known:
            self._known[entry.oid] = None
            if entry.mode not in {SYMLINK, GITLINK} and self.objects.has(entry.oid):
                content = self.objects.read(entry.oid)
                if len(content) <= _LARGEST:
                    self._known[entry.oid] = frozenset(line.strip() for line in content.split(b"\n"))
        return self._known[entry.oid]

    def added(self, change: Change) -> frozenset[bytes]:
        """Return the lines that a change brings."""
        after = (self.of(change.new) if change.new else None) or frozenset()
        return after - ((self.of(change.old) if change.old else None) or frozenset())

    def kept(self, tried: Tried, carrier: str, tree: str) -> bool:
        """Whether a branch still has what a commit of it brought, though the commit would apply to it once more.

        Its lines may have been moved to another place or file, or indented anew; files that it created may have been
        used up, as a release does with fragments of its notes.

        Args:
            tried: the commit, tried on the branch.
            carrier: the root tree of the commit.
            tree: that of the branch.
        """
        code = [answer for path, answer in tried.answers.items() if is_code(path)]
        if Answer.SAME in code and set(code) <= {Answer.SAME, Answer.CREATED, Answer.ABSENT}:
            return True
        again = {path for path, answer in tried.answers.items() if answer in {Answer.CHANGED, Answer.CREATED}}
        brought = {
            line
            for change in tried.patch.changes
            if change.path in again
            for line in self.added(change)
            if _SAYING.search(line)
        }
        if not brought:
            return False
        left = set(brought)
        try:
            for number, (_, _, new) in enumerate(self.objects.changes(carrier, tree)):
                if new is not None:
                    left -= self.of(new) or frozenset()
                if len(left) <= (1 - _KEPT) * len(brought):
                    return True
                if number >= _MOST:
                    break
        except MissingObject:
            pass
        return False
