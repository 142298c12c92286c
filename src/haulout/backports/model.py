"""The values of backports: fixes, changes to files, what a branch is found to hold, and what picks did."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from haulout.documents import Document

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.backports.records import Record
    from haulout.backports.repository import Branch
    from haulout.backports.trees import Entry

StrPath = str | os.PathLike[str]


class State(StrEnum):
    """The state of a branch with respect to a fix."""

    PRESENT = "present"
    REVERTED = "reverted"
    PARTLY = "partly"
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
    """One piece of evidence for a state."""

    signal: str
    """``content``, ``ancestor``, ``trailer``, ``note``, ``patch-id``, ``author-date``, ``subject``, ``record``,
    ``revert``, ``attribute``, ``line-ends``, ``introduced-in`` or ``clone``."""
    text: str
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to one file; None: the file is not there."""

    path: str
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True)
class Patch:
    """What a commit, or a series, does: changes by path."""

    commits: tuple[str, ...]
    # There may be thousands, and patches are keys.
    changes: tuple[Change, ...] = field(hash=False)
    before: str | None = None
    """The root tree it was made on, of one commit; None: there was none, or it is several commits."""

    @cached_property
    def paths(self) -> frozenset[str]:
        """The files it touches."""
        return frozenset(change.path for change in self.changes)


@dataclass(frozen=True, slots=True)
class Commit(Document):
    """A commit as ``git log`` shows it."""

    json_members = ("commit=oid", "subject", "author=signature")

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

    @property
    def signature(self) -> str:
        """Its author as git writes it."""
        return f"{self.author} <{self.email}>"


@dataclass(frozen=True, slots=True)
class Fix(Document):
    """A fix asked about: its commits in order, and its record where it has one."""

    json_members = ("fix=name", "id", "aliases", "title", "commits=oids")

    name: str
    """As asked: a commit, a series ``A..B``, or the id of a record."""
    commits: tuple[Commit, ...]
    unknown: tuple[str, ...] = ()
    """Commits that a record lists and this clone does not hold."""
    record: Record | None = None
    whole: Commit | None = None
    """The merge by which its commits came in, or what they were squashed to."""

    @property
    def id(self) -> str | None:
        """The id of its record."""
        return self.record.id if self.record is not None else None

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other ids of its record."""
        return self.record.aliases if self.record is not None else ()

    @property
    def oids(self) -> tuple[str, ...]:
        """Its commits, those that this clone does not hold last."""
        return (*(commit.oid for commit in self.commits), *self.unknown)

    @property
    def title(self) -> str:
        """One line for people."""
        if self.record is not None and self.record.summary:
            return self.record.summary
        last = self.whole or (self.commits[-1] if self.commits else None)
        return last.subject if last is not None else ""


@dataclass(frozen=True, slots=True)
class Cell(Document):
    """The state of one branch with respect to one fix."""

    json_members = ("branch=branch.shown", "tip", "state", "supported", "consumers", "pick", "evidence")

    branch: Branch
    state: State
    evidence: tuple[Evidence, ...]
    supported: bool
    consumers: tuple[str, ...] = ()
    """The consumers of this branch, by the ledger: ``crio 1.27``."""
    pick: tuple[str, ...] = ()
    """The commits that would apply, in order, where the state is that they do."""
    left: tuple[str, ...] = ()
    """The commits of the fix that are not there."""

    @property
    def tip(self) -> str | None:
        """The commit it is at; None: it is not in this clone."""
        return self.branch.tip or None

    @property
    def lacking(self) -> bool:
        """Whether it is supported and lacks the fix, or may lack it."""
        return self.supported and self.state not in {State.PRESENT, State.NOT_AFFECTED}


@dataclass(frozen=True, slots=True)
class Column(Document):
    """One fix over all branches."""

    json_members = ("*fix", "backports=known", "branches=cells")

    fix: Fix
    cells: tuple[Cell, ...]
    known: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True)
class Known(Document):
    """A commit that is the fix on some branch, and how it was recognised."""

    json_members = ("commit", "of=unit", "signals", "branches")

    commit: str
    unit: int
    """Index of the commit in the fix that it stands for."""
    signals: tuple[str, ...]
    branches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Matrix(Document):
    """The state of every branch for every fix: the result of ``status``."""

    json_members = ("library", "complete", "fixes=columns")

    library: str
    columns: tuple[Column, ...]

    @property
    def complete(self) -> bool:
        """Whether every supported branch has every fix."""
        return not any(cell.lacking for column in self.columns for cell in column.cells)


class Outcome(StrEnum):
    """How a run of ``pick`` ended."""

    PICKED = "picked"
    PRESENT = "already there"
    CONFLICT = "conflict"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Picked:
    """A commit that was made."""

    source: str
    commit: str
    subject: str
    of: str | None = None
    """The commit of the fix that the source is a backport of, where that was picked in its place."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about a fix on a branch before it was picked there."""

    fix: str
    state: State
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """A conflict: what is in the way, and where to resolve it."""

    source: Commit
    files: tuple[str, ...]
    prerequisites: tuple[Commit, ...]
    """Commits before the source that touched these files and are not on the branch, newest first."""
    instead: tuple[Commit, ...]
    """Backports of the source on other branches, of which the first would apply."""
    worktree: Path
    absent: tuple[str, ...] = ()
    """Of the files, those that the branch does not have."""
    deleted: tuple[str, ...] = ()
    """Of the files, those that the source deletes."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A fix record that could not be written, although the picks are made."""

    path: Path
    reason: str
    text: str
    """What is to be added to it."""


@dataclass(frozen=True, slots=True)
class Proposal(Document):
    """A push and a pull request that a person may send."""

    json_members = ("base", "head", "title", "body")

    push: str
    """A shell command."""
    base: str
    """The branch the pull request goes to."""
    head: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class PickResult(Document):
    """What ``pick`` did."""

    json_members = (
        "status=outcome",
        "branch",
        "target",
        "before",
        "after",
        "picked",
        "present",
        "judged",
        "conflict=stop",
        "records=recorded",
        "unrecorded=unwritten",
        "push",
        "pull_request=proposal",
    )

    outcome: Outcome
    branch: str
    target: str
    before: str
    after: str
    picked: tuple[Picked, ...] = ()
    present: tuple[str, ...] = ()
    """Sources whose pick would have been empty."""
    stop: Stop | None = None
    recorded: tuple[Path, ...] = ()
    """Fix records that were written or extended."""
    remote: str | None = None
    fixes: tuple[str, ...] = ()
    """Ids of the records of what was picked."""
    unwritten: tuple[Unwritten, ...] = ()
    proposal: Proposal | None = None
    """What to send; None where nothing was picked."""
    judged: tuple[Judged, ...] = ()
    """One for each fix; empty after ``--continue``."""

    @property
    def push(self) -> str | None:
        """The command that publishes what was picked."""
        return self.proposal.push if self.proposal is not None else None
