"""Is an audit log whole? Finds edits, deletions, reordering and, with a head that was kept, truncation. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from haulout.broker.audit.rows import BEGINNING, Head, Row
from haulout.documents import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Damage(StrEnum):
    """What happened to a log. The names are stable."""

    EDITED = "edited"
    DELETED = "deleted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"


@dataclass(frozen=True, slots=True)
class Finding(Document):
    """The first damage: from which row on the log cannot be relied on."""

    damage: Damage
    number: int
    words: str


@dataclass(frozen=True, slots=True)
class LogReport(Document):
    """The answer.

    Attributes:
        rows: how many rows hold together, from the beginning.
        begin: number of the first row; None: the log is empty.
        head: of the last of them: keep it elsewhere, and give it the next time.
        compared: whether a head that was kept was given.
        gaps: whether rows may be left out.
        finding: the first damage, or None.
    """

    rows: int
    begin: int | None
    head: Head
    compared: bool
    gaps: bool
    finding: Finding | None

    json_members: ClassVar = ("whole", "rows", "begin", "head", "compared", "finding", "notes")

    @property
    def whole(self) -> bool:
        """Return whether no damage was found."""
        return self.finding is None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what this answer does not say."""
        found = []
        if self.gaps:
            found.append("rows about others' workloads are not shown to an owner: deleted rows cannot be found")
        if not self.compared:
            found.append("without a head that was kept, nobody can tell whether rows are missing at the end")
        return tuple(found)


def verify_log(rows: Iterable[Row], kept: Head | None = None, *, part: bool = False, gaps: bool = False) -> LogReport:
    """Verify a log.

    Args:
        rows: in the order of the log.
        kept: a head that was printed or exported before; None: the end of the log cannot be judged.
        part: whether it may begin after its first row, as an export since a day does.
        gaps: whether rows may be left out, as an owner gets only their own: deletions are then not found.
    """
    rest = iter(rows)
    head, begin, count = BEGINNING, None, 0
    # A kept head of an empty log is met by every log.
    met = kept is None or kept.number == 0
    finding: Finding | None = None
    for row in rest:
        if begin is None:
            begin = row.number
            if part:
                head = Head(row.number - 1, row.previous)
        finding = _damage(head, row, rest, gaps=gaps)
        if finding is None and kept is not None and row.number == kept.number:
            met = True
            if row.hash != kept.hash:
                words = f"row {row.number} has another hash than the head that was kept: the log was made anew"
                finding = Finding(Damage.REWRITTEN, row.number, words)
        if finding is not None:
            break
        head, count = row.head, count + 1
    if finding is None and kept is not None and not met:
        finding = _unmet(head, begin, kept)
    return LogReport(count, begin, head, kept is not None, gaps, finding)


def _damage(head: Head, row: Row, rest: Iterator[Row], *, gaps: bool) -> Finding | None:
    due = head.number + 1
    if gaps and row.number > due:
        head = Head(row.number - 1, row.previous)
    elif row.number != due:
        words = f"row {due} should follow row {head.number}, but row {row.number} does"
        if row.number < due or any(each.number == due for each in rest):
            return Finding(Damage.REORDERED, due, f"{words}: rows are in another order, or twice")
        return Finding(Damage.DELETED, due, f"{words}: rows are missing")
    if row.previous != head.hash:
        reason = f"row {row.number} does not name the hash of row {head.number}: one of them was changed"
        return Finding(Damage.EDITED, row.number, reason)
    if row.hash != row.expected:
        return Finding(Damage.EDITED, row.number, f"row {row.number} does not have its hash: it was changed")
    return None


def _unmet(head: Head, begin: int | None, kept: Head) -> Finding:
    if begin is not None and kept.number < begin:
        words = (
            f"the log begins at row {begin}, after row {kept.number} of the head that was kept: it cannot be compared"
        )
        return Finding(Damage.TRUNCATED, kept.number, words)
    words = f"the log ends at row {head.number}, but row {kept.number} was there: its end is missing"
    return Finding(Damage.TRUNCATED, head.number + 1, words)
