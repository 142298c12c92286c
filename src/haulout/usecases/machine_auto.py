"""Update machines by themselves: look, decide, fetch, apply, tell; and have that done every quarter of an hour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from haulout.documents import Document
from haulout.errors import HauloutError, InvalidFile, NotFoundError, UnreachableError
from haulout.local import locked, storage_errors
from haulout.machine import (
    Action,
    AutoNote,
    EventKind,
    Machines,
    is_turn,
    publish,
    read_fixes,
    read_note,
    starts_at_boot,
    tell_desktop,
    tell_guest,
    turns,
    update_timer,
    write_note,
)
from haulout.progress import NullProgress
from haulout.usecases.arguments import path_of, reference_of
from haulout.usecases.machine_init import pinned
from haulout.usecases.machine_update import machine_update
from haulout.usecases.machine_update_check import check_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

    from haulout.machine import FixSource, Machine, Place
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.usecases.machine_update_check import UpdateCheck


@dataclass(frozen=True, slots=True)
class AutoMachine(Document):
    """What was done, or is to be done, about one machine."""

    name: str
    status: str
    """``waiting``: its turn or its time comes; ``current``, ``notified``, ``staged``, ``updated``, ``undone``;
    ``failed``."""
    why: str
    """One sentence."""
    when: datetime | None = None
    """When something is due next, local time, if that is known."""
    candidate: str | None = None
    """What there is, by digest; None: it was not looked yet, or there is nothing newer."""
    severity: str | None = None


@dataclass(frozen=True, slots=True)
class AutoRun(Document):
    """What one run did, machine by machine."""

    machines: tuple[AutoMachine, ...]

    @property
    def failed(self) -> bool:
        """Whether something has to be looked at."""
        return any(each.status == "failed" for each in self.machines)


@dataclass(frozen=True, slots=True)
class AutoStatus(Document):
    """Whether machines are updated by themselves, and what is due."""

    enabled: bool
    at_boot: bool
    """It begins when the host boots, not when its user logs in."""
    path: Path
    """The timer of systemd, or launchd's agent."""
    machines: tuple[AutoMachine, ...]
    changed: bool = False


def machine_auto(*, enable: bool | None = None, fixes: str | os.PathLike[str] | None = None) -> AutoStatus:
    """Say whether machines are updated by themselves and what is due, or decide it; no registry is asked.

    Args:
        enable: True or False: have it done every quarter of an hour, or not; None: only say.
        fixes: a file that says what updates fix, for all runs.

    Raises:
        InvalidFile: the file of fixes is not valid.
        NotFoundError: it is not there.
        StorageError: the timer cannot be written or removed.
        ToolError: this host has neither systemd nor launchd.
    """
    timer = update_timer()
    source = None if fixes is None else read_fixes(path_of(fixes))
    words = [] if fixes is None else ["--fixes", str(path_of(fixes).absolute())]
    changed = False if enable is None else timer.enable(words) if enable else timer.disable()
    now = _now()
    known = tuple(_outlook(place, source, now) for place in Machines.here().all())
    return AutoStatus(timer.enabled, timer.enabled and starts_at_boot(), timer.files[-1], known, changed)


def machine_auto_run(
    names: Iterable[str] = (),
    *,
    fixes: str | os.PathLike[str] | None = None,
    at_once: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> AutoRun:
    """Do what is due. What fails for one machine does not keep the others from it.

    Args:
        names: of machines; none: all.
        fixes: a file that says what updates fix.
        at_once: look for all machines and fetch at once, without waiting for their turns; windows hold for applying.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        ConflictError: another run goes on.
        NotFoundError: there is no machine of such a name.
    """
    progress = progress or NullProgress()
    machines = Machines.here()
    places = [machines.place(name) for name in names]
    for place in places:
        if not place.exists():
            place.load()
    source = _source(fixes, progress)
    with storage_errors(machines.data, doing="cannot be written"):
        machines.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = locked(machines.data / "auto.lock", seconds=0, busy="another run of machine auto goes on")
        with lock:
            done = [_tried(place, source, connections, progress, at_once=at_once) for place in places or machines.all()]
    return AutoRun(tuple(done))


def _source(fixes: str | os.PathLike[str] | None, progress: Progress) -> FixSource | None:
    """Read what updates fix. A file that is wrong must not keep machines from their updates: nobody says, then."""
    if fixes is None:
        return None
    try:
        return read_fixes(path_of(fixes))
    except (InvalidFile, NotFoundError) as error:
        progress.note(f"nothing is known of what updates fix: {error}")
        return None


def _tried(
    place: Place,
    source: FixSource | None,
    connections: ConnectionOptions | None,
    progress: Progress,
    *,
    at_once: bool,
) -> AutoMachine:
    try:
        return _Run(place, source, connections, progress, at_once=at_once).run()
    except UnreachableError as error:
        # A laptop without a network is no fault; the next run tries again.
        return AutoMachine(place.name, "waiting", str(error))
    except HauloutError as error:
        progress.note(f"{place.name}: {error}")
        return AutoMachine(place.name, "failed", str(error))


class _Run:
    """What is due for one machine."""

    def __init__(
        self,
        place: Place,
        source: FixSource | None,
        connections: ConnectionOptions | None,
        progress: Progress,
        *,
        at_once: bool,
    ) -> None:
        self._place = place
        self._source = source
        self._connections = connections
        self._progress = progress
        self._at_once = at_once
        self._machine: Machine = place.load()

    def run(self) -> AutoMachine:
        place, machine, now = self._place, self._machine, _now()
        if machine.ephemeral:
            return AutoMachine(place.name, "current", "it is thrown away when its command ends")
        note = read_note(place)
        if note is None:
            note = AutoNote(datetime.now(UTC))
            write_note(place, note)
        if self._at_once or is_turn(machine.update, machine.id, now, _local(note.checked)):
            candidate, _ = pinned(reference_of(machine.image.reference), self._connections, self._progress)
            note = replace(note, checked=datetime.now(UTC), candidate=candidate)
            write_note(place, note)
        if not note.candidate:
            return _outlook(place, self._source, now)
        check = self._check(note.candidate)
        if check.decision.action is Action.STAGE and check.decision.due:
            machine_update(place.name, stage=True, connections=self._connections, progress=self._progress)
            check = self._check(note.candidate)
            if check.decision.action is Action.NOTIFY or not check.decision.due:
                self._tell(note, check, EventKind.UPDATE_STAGED, "An update is staged")
                return replace(_shown(check), status="staged")
        if check.decision.action is Action.APPLY and check.decision.due:
            return self._apply(check)
        if check.decision.action is Action.NOTIFY:
            kind = EventKind.UPDATE_STAGED if check.status == "staged" else EventKind.UPDATE_FOUND
            self._tell(note, check, kind, "An update is staged" if check.status == "staged" else "There is an update")
        return _shown(check)

    def _check(self, candidate: str) -> UpdateCheck:
        return check_of(self._place, self._machine, candidate, self._source, _now(), at_once=self._at_once)

    def _apply(self, check: UpdateCheck) -> AutoMachine:
        # What was decided on and is here, not what the reference may lead to by now.
        decided = check.candidate.rpartition("@")[2]
        done = machine_update(self._place.name, expect=decided, connections=self._connections, progress=self._progress)
        if done.status == "updated":
            tell_desktop(f"Machine {self._place.name}", "It was updated.")
            return replace(_shown(check), status="updated", why="it was updated", when=None)
        reason = done.reason or done.status
        tell_desktop(f"Machine {self._place.name}", f"An update was undone: {reason}")
        return replace(_shown(check), status=done.status, why=reason, when=None)

    def _tell(self, note: AutoNote, check: UpdateCheck, kind: EventKind, what: str) -> None:
        """Tell the user once of each version, and once more when it is here."""
        told = f"{kind} {check.candidate}"
        if note.told == told:
            return
        fixed = f", {check.severity}: {', '.join(check.fixes)}" if check.severity and check.fixes else ""
        text = f"{what}{fixed}. haulout machine update {self._place.name}"
        publish(
            self._place.history, self._place.name, self._machine.id, kind,
            image=check.candidate, severity=check.severity, fixes=list(check.fixes) or None,
        )  # fmt: skip
        tell_desktop(f"Machine {self._place.name}", text)
        if self._place.is_held("run.lock"):
            tell_guest(self._place, f"haulout: {text}")
        write_note(self._place, replace(note, told=told))


def _outlook(place: Place, source: FixSource | None, now: datetime) -> AutoMachine:
    """Say what is due for a machine, without asking a registry."""
    try:
        machine = place.load()
        note = read_note(place)
        if note is not None and note.candidate:
            shown = _shown(check_of(place, machine, note.candidate, source, now))
            if shown.status != "current":
                return shown
    except HauloutError as error:
        return AutoMachine(place.name, "failed", str(error))
    looked = "it runs the newest version" if note is not None and note.candidate else "it was not looked yet"
    following = turns(machine.id, machine.update.window, now)[1]
    status = "current" if note is not None and note.candidate else "waiting"
    return AutoMachine(place.name, status, f"{looked}; its turn comes", following)


def _shown(check: UpdateCheck) -> AutoMachine:
    status = {Action.NOTHING: "current", Action.NOTIFY: "notified"}.get(check.decision.action, "waiting")
    status = "undone" if check.status == "undone" else status
    candidate = None if check.status == "current" else check.candidate
    return AutoMachine(check.name, status, check.decision.why, check.decision.when, candidate, check.severity)


def _now() -> datetime:
    return datetime.now()  # noqa: DTZ005 - local, as windows are


def _local(moment: datetime) -> datetime:
    return moment.astimezone().replace(tzinfo=None)
