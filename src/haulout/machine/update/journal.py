"""The journal of a machine's update: what is under way, from which system to which, and what came of it. Pure.

A line of it is written before each step. Which system a machine runs is not said here but by the machine file, whose
replacement is what keeps an update; so a journal that is lost or damaged loses the way back, and nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final, TypeVar

from haulout.documents import Document
from haulout.local import parse_json
from haulout.machine.model import Image, parse_image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from haulout.local import Table, Wrong

_Value = TypeVar("_Value")
SCHEMA: Final = 1
LONGEST: Final = 4 << 20
_LONGEST_REASON: Final = 4000
_MOST_BAD: Final = 64
_ONE_SCHEMA: Final = re.compile(
    r"podman (?P<major>4(?=\.\d+ boltdb |\.(?:[89]|\d\d+) )|5)\.\d+ (?P<data>(?:sqlite|boltdb) \S+)"
)
"""What :func:`haulout.machine.update.api.kind_of_data` tells of releases whose major version keeps the schema of its
database (libpod, ``schemaVersion``): of podman 5 and 4, but for SQLite before 4.8, an experiment."""
_KEPT: Final = timedelta(days=7)
"""That the data of before an update is kept apart, so that ``rollback --data`` can bring it back."""


class Step(StrEnum):
    """What is being done, or was."""

    STAGING = "staging"
    """The other system is being fetched; the machine goes on."""
    STAGED = "staged"
    """It is here."""
    DUE = "due"
    """The next start tries it."""
    STOPPING = "stopping"
    TRYING = "trying"
    """The other system boots and has to prove itself, on data that can be given up."""
    UNDOING = "undoing"
    COMMITTED = "committed"
    UNDONE = "undone"


class Switch(StrEnum):
    """What a machine goes on to."""

    NONE = ""
    UPDATE = "update"
    ROLLBACK = "rollback"
    ROLLBACK_DATA = "rollback-data"


class Action(StrEnum):
    """What has to be done about what was found."""

    NOTHING = auto()
    TRY = auto()
    """Switch to the other system."""
    UNDO = auto()
    """Power it off, where it runs, and give up what it wrote."""
    CLOSE = auto()
    """Note that nothing was changed: the machine runs the system it ran."""
    COMMIT = auto()
    """Note that the update was kept: the machine file says so."""
    ROLLED_BACK = auto()
    """Note that the machine went back: the machine file says so."""


@dataclass(frozen=True, slots=True)
class Container(Document):
    """A container that ran."""

    json_members = ("id", "name")

    id: str
    name: str
    passing: bool = False
    """Whether podman removes it when it stops, and no unit makes it anew: then it is not noted in a journal."""

    def is_same(self, other: Container) -> bool:
        """Return whether another one takes its place: systemd's units make theirs anew, under the same name."""
        return self.id == other.id or (self.name != "" and self.name == other.name)


@dataclass(frozen=True, slots=True)
class BadImage(Document):
    """An image that did not prove itself on this machine."""

    digest: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class Journal(Document):
    """One journal."""

    step: Step
    old: Image
    """What the machine runs, or ran before."""
    new: Image
    at: str
    """RFC 3339, UTC: of this step."""
    reason: str = ""
    """Why it was undone."""
    sockets: tuple[str, ...] = ()
    """Names of those that answered before."""
    running: Mapping[str, tuple[Container, ...]] = field(default_factory=dict)
    """Containers that ran before, and are to run again, by the name of the socket they were seen through."""
    old_podman: str = ""
    """What tells podman's data of the old system from another's; empty: not known."""
    new_podman: str = ""
    downtime: float | None = None
    """Seconds in which the machine did not answer."""
    previous: Image | None = None
    """The system before the old one, as long as the new one is not kept."""
    previous_podman: str = ""
    data_kept: bool = False
    """Whether the data of before the last update that was kept is still there, apart."""
    bad: tuple[BadImage, ...] = ()
    """Images that are not tried again by themselves."""
    kind: Switch = Switch.UPDATE
    """Whether the new system is a newer one, or the one before."""
    schema: int = SCHEMA

    json_members = (
        *("schema", "step", "old", "new", "at", "reason", "sockets", "running", "old_podman", "new_podman"),
        *("downtime", "previous", "previous_podman", "data_kept", "bad", "kind"),
    )

    def to_json(self) -> str:
        """Return the document."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def turned(self, step: Step, reason: str = "", **changes: object) -> Journal:
        """Return it with another step, as of now."""
        return replace(self, step=step, reason=reason[:_LONGEST_REASON], at=_now(), **changes)  # type: ignore[arg-type]

    def undone(self, reason: str, *, bad: bool) -> Journal:
        """Return it undone; with ``bad``, the new image is remembered as such."""
        made = self.turned(Step.UNDONE, reason)
        if not bad:
            return made
        others = tuple(each for each in self.bad if each.digest != self.new.digest)
        return replace(made, bad=(*others, BadImage(self.new.digest, made.reason, made.at))[-_MOST_BAD:])

    def bad_reason(self, digest: str) -> str | None:
        """Return why an image is not tried again by itself; None: it is."""
        return next((each.reason for each in self.bad if each.digest == digest), None)

    @property
    def way_back(self) -> tuple[Image, str, str] | None:
        """The system a rollback leads to, and what tells podman's data there and here; None: there is none."""
        if self.step is Step.COMMITTED:
            return self.old, self.old_podman, self.new_podman
        return None if self.previous is None else (self.previous, self.previous_podman, self.old_podman)

    @property
    def left(self) -> Image:
        """The system that a rollback leaves."""
        return self.new if self.step is Step.COMMITTED else self.old

    @property
    def is_under_way(self) -> bool:
        """Whether a system is being replaced at this moment, or was when something was killed."""
        return self.step in {Step.DUE, Step.STOPPING, Step.TRYING, Step.UNDOING}


def begin_journal(before: Journal | None, old: Image, new: Image) -> Journal:
    """Return the journal of an update that begins, with what has to be known of those before."""
    journal = Journal(Step.STAGING, old, new, _now())
    if before is None:
        return journal
    journal = replace(journal, bad=before.bad, data_kept=before.data_kept, running=before.running)
    if before.way_back is None:
        return journal
    image, podman, here = before.way_back
    if image.digest == new.digest:
        # Its system is made anew, and with it the way back.
        return replace(journal, old_podman=here)
    return replace(journal, previous=image, previous_podman=podman, old_podman=here)


def begin_rollback(before: Journal, kind: Switch) -> Journal:
    """Return the journal of a rollback that begins: the system before is tried, and stays the way back if it fails."""
    assert before.way_back is not None
    image, there, here = before.way_back
    return Journal(
        Step.STAGED, before.left, image, _now(), running=before.running, old_podman=here, previous=image,
        previous_podman=there, data_kept=before.data_kept, bad=before.bad, kind=kind,
    )  # fmt: skip


def rolled_back(before: Journal, active: Image, back: Image) -> Journal:
    """Return the journal after a rollback; the image that was left is not tried again by itself."""
    after = replace(before, old=back, new=active, previous=None, data_kept=False, kind=Switch.UPDATE)
    return after.undone("rolled back", bad=True)


def decide(journal: Journal | None, active: str, *, running: bool) -> Action:
    """Say what has to be done before a machine goes on.

    Args:
        journal: what was written last.
        active: digest of the image that the machine file names.
        running: whether its virtual machine runs.
    """
    if journal is None:
        return Action.NOTHING
    new = active == journal.new.digest
    back = journal.way_back is not None and active == journal.way_back[0].digest
    match journal.step:
        case Step.DUE if not back or new:
            return Action.NOTHING if running else Action.COMMIT if new else Action.TRY
        case Step.STOPPING:
            return Action.COMMIT if new else Action.CLOSE
        case Step.TRYING | Step.UNDOING:
            return Action.COMMIT if new else Action.UNDO
    return Action.ROLLED_BACK if back else Action.NOTHING


def is_migrated(there: str, here: str) -> bool:
    """Return whether podman's data may have been changed so that another podman does not read it; pure.

    Args:
        there: the other one's, as :func:`haulout.machine.update.api.kind_of_data` tells it; "": not known.
        here: the same of the one that wrote the data last.
    """
    if there == here:
        return False
    one, other = (_ONE_SCHEMA.fullmatch(each) for each in (there, here))
    return one is None or other is None or one.group("major", "data") != other.group("major", "data")


def is_data_due(journal: Journal | None, now: datetime | None = None) -> bool:
    """Return whether the data of before an update is not needed any more."""
    if journal is None or not journal.data_kept:
        return True
    age = (now or datetime.now(UTC)) - datetime.fromisoformat(journal.at)
    return journal.step in {Step.COMMITTED, Step.UNDONE} and not timedelta(0) <= age < _KEPT


def parse(text: bytes, wrong: Wrong) -> Journal:
    """Parse a journal.

    Raises:
        InvalidFile: it breaks the schema, or is of a newer version.
    """
    table = parse_json(text, wrong)
    if table.number("schema", None, 1 << 30, 1) > SCHEMA:
        raise table.wrong("schema", "was written by a newer haulout", hint="update haulout")
    downtime = table.take("downtime")
    if downtime is not None and not isinstance(downtime, (int, float)):
        raise table.wrong("downtime", "expected a number")
    running = table.table("running")
    journal = Journal(
        step=table.choice("step", Step.UNDONE),
        old=parse_image(table.table("old")),
        new=parse_image(table.table("new")),
        at=_time(table, "at"),
        reason=table.text("reason", "", longest=_LONGEST_REASON),
        sockets=table.texts("sockets"),
        running={name: _ended(running.tables(name), _container) for name in running},
        old_podman=table.text("old_podman", ""),
        new_podman=table.text("new_podman", ""),
        downtime=downtime,
        previous=parse_image(table.table("previous")) if table.take("previous") else None,
        previous_podman=table.text("previous_podman", ""),
        data_kept=table.flag("data_kept", default=False),
        bad=_ended(table.tables("bad"), _bad),
        kind=table.choice("kind", Switch.UPDATE),
    )
    table.end()
    return journal


def _ended(tables: tuple[Table, ...], read: Callable[[Table], _Value]) -> tuple[_Value, ...]:
    found = tuple(read(table) for table in tables)
    for table in tables:
        table.end()
    return found


def _container(table: Table) -> Container:
    return Container(table.text("id"), table.text("name", ""))


def _bad(table: Table) -> BadImage:
    return BadImage(table.text("digest"), table.text("reason", "", longest=_LONGEST_REASON), _time(table, "at"))


def _time(table: Table, name: str) -> str:
    text = table.text(name)
    try:
        if datetime.fromisoformat(text).tzinfo is not None:
            return text
    except ValueError:
        pass
    raise table.wrong(name, "expected a time with its zone")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
