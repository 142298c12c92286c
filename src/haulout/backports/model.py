"""What the rooms of backports speak of: fixes, changes to files, and what a branch is found to hold. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from haulout.backports.objects import Entry
    from haulout.backports.records import Record
    from haulout.backports.repository import Branch


class State(StrEnum):
    """What a branch is, with respect to a fix."""

    PRESENT = "present"
    REVERTED = "reverted"
    APPLIES = "missing, applies"
    CONFLICTS = "missing, conflicts"
    NOT_AFFECTED = "not affected"
    UNKNOWN = "unknown"


class Content(StrEnum):
    """What merging a change into a tree would do."""

    SAME = "same"
    """Nothing: what it does is there."""
    APPLIES = "applies"
    CONFLICTS = "conflicts"
    ABSENT = "absent"
    """None of the files it changes is there, under no name."""
    UNKNOWN = "unknown"
    """Objects are missing from this clone."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that speaks for a state."""

    signal: str
    """``content``, ``ancestor``, ``trailer``, ``note``, ``patch-id``, ``author-date``, ``subject``, ``record``,
    ``revert``, ``attribute``, ``introduced-in`` or ``clone``."""
    text: str
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to one file; None: the file is not there."""

    path: str
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True, slots=True)
class Patch:
    """What a commit, or a series, does: changes by path."""

    commits: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def paths(self) -> frozenset[str]:
        """The files it touches."""
        return frozenset(change.path for change in self.changes)


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as ``git log`` tells it."""

    oid: str
    parents: tuple[str, ...]
    author: str
    email: str
    authored: int
    """Author date, in seconds since 1970."""
    committed: int
    message: str

    @property
    def subject(self) -> str:
        """The first line of its message."""
        return self.message.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Fix:
    """What is asked about: commits in order, and what a record knows about them."""

    name: str
    """As asked: a commit, a series ``A..B``, or the id of a record."""
    commits: tuple[Commit, ...]
    unknown: tuple[str, ...] = ()
    """Commits that a record lists and this clone does not hold."""
    record: Record | None = None

    @property
    def title(self) -> str:
        """One line for people."""
        if self.record is not None and self.record.summary:
            return self.record.summary
        return self.commits[-1].subject if self.commits else ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One branch and one fix."""

    branch: Branch
    state: State
    evidence: tuple[Evidence, ...]
    supported: bool
    consumers: tuple[str, ...] = ()
    """Who is served by this branch, of the ledger: ``crio 1.27``."""
    pick: tuple[str, ...] = ()
    """The commits that would apply, where one applies."""

    @property
    def lacking(self) -> bool:
        """Whether a supported branch is without the fix, or may be."""
        return self.supported and self.state not in {State.PRESENT, State.NOT_AFFECTED}


@dataclass(frozen=True, slots=True)
class Column:
    """One fix over all branches."""

    fix: Fix
    cells: tuple[Cell, ...]
    known: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """A commit that is the fix on some branch, and how it was recognised."""

    commit: str
    unit: int
    """Index of the commit in the fix that it stands for."""
    signals: tuple[str, ...]
    branches: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Matrix:
    """What ``status`` answers."""

    library: str
    columns: tuple[Column, ...]
    probes: int
    """Merges of single files that were tried."""

    @property
    def complete(self) -> bool:
        """Whether no supported branch is without a fix."""
        return not any(cell.lacking for column in self.columns for cell in column.cells)
