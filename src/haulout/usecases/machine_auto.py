"""Update machines by themselves: look, decide, fetch, apply, tell; and have that done every quarter of an hour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from haulout.documents import Document
from haulout.errors import ConflictError, HauloutError, UnreachableError
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
from haulout.usecases.machine_update_check import check_of, enabled_fixes, fixes_or_none

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


def machine_auto(
    *,
    enable: bool | None = None,
    fixes: str | os.PathLike[str] | None = None,
    options: Iterable[str] = (),
    progress: Progress | None = None,
) -> AutoStatus:
    """Say whether machines are updated by themselves and what is due, or decide it; no registry is asked.

    Args:
        enable: True or False: have it done every quarter of an hour, or not; None: only say.
        fixes: a file that says what updates fix, for all runs; None, where nothing is decided: the one they read.
        options: of each run, as the command takes them, such as ``--plain-http``.
        progress: told what cannot be known.

    Raises:
        InvalidFile: the file of fixes is not valid.
        NotFoundError: it is not there.
        StorageError: the timer cannot be written or removed.
        ToolError: this host has neither systemd nor launchd.
    """
    timer = update_timer()
    source: FixSource | None = None if fixes is None else read_fixes(path_of(fixes))
    words = [*options, *([] if fixes is None else ["--fixes", str(path_of(fixes).absolute())])]
    changed = False if enable is None else timer.enable(words) if enable else timer.disable()
    source = source or enabled_fixes(progress or NullProgress())
    known = tuple(_outlook(place, source) for place in Machines.here().all())
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
        fixes: a file that says what updates fix; None: the one that the runs of the timer read.
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
    source = enabled_fixes(progress) if fixes is None else fixes_or_none(path_of(fixes), progress)
    with storage_errors(machines.data, doing="cannot be written"):
        machines.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(machines.data / "auto.lock", seconds=0, busy="another run of machine auto goes on"):
            run = _Run(source, connections, progress, at_once)
            done = [run.tried(place) for place in places or machines.all()]
    return AutoRun(tuple(done))


@dataclass(frozen=True, slots=True)
class _Run:
    """What is due for machines."""

    source: FixSource | None
    connections: ConnectionOptions | None
    progress: Progress
    at_once: bool

    def tried(self, place: Place) -> AutoMachine:
        try:
            return self._run(place, place.load())
        except UnreachableError as error:
            # A laptop without a network is no fault; the next run tries again.
            return AutoMachine(place.name, "waiting", str(error))
        except HauloutError as error:
            self.progress.note(f"{place.name}: {error}")
            return AutoMachine(place.name, "failed", str(error))

    def _run(self, place: Place, machine: Machine) -> AutoMachine:
        if machine.ephemeral:
            return AutoMachine(place.name, "current", "it is thrown away when its command ends")
        note = read_note(place)
        if note is None:
            # A fleet that is enabled at once does not look at once.
            note = AutoNote(datetime.now(UTC))
            write_note(place, note)
        if self.at_once or is_turn(machine.update, machine.id, _now(), _local(note.checked)):
            note = self._looked(place, machine, note)
        if not note.candidate:
            return _outlook(place, self.source)
        check = self._check(place, machine, note)
        was_fetched = check.decision.action is Action.STAGE and check.decision.due
        if was_fetched:
            machine_update(
                place.name, stage=True, candidate=note.candidate, connections=self.connections, progress=self.progress
            )
            check = self._check(place, machine, note)
        if check.decision.action is Action.APPLY and check.decision.due:
            return self._apply(place, note, check)
        if was_fetched or check.decision.action is Action.NOTIFY:
            _tell(place, machine, note, check)
        return replace(_shown(check), status="staged") if was_fetched and check.status == "staged" else _shown(check)

    def _looked(self, place: Place, machine: Machine, note: AutoNote) -> AutoNote:
        try:
            candidate, _ = pinned(reference_of(machine.image.reference), self.connections, self.progress)
        except UnreachableError as error:
            if not note.candidate:
                raise
            self.progress.note(f"{place.name}: {error}")
            # What was found before may be here.
            return note
        note = replace(note, checked=datetime.now(UTC), candidate=candidate, tried="")
        write_note(place, note)
        return note

    def _check(self, place: Place, machine: Machine, note: AutoNote) -> UpdateCheck:
        return _checked(place, machine, note, self.source, at_once=self.at_once)

    def _apply(self, place: Place, note: AutoNote, check: UpdateCheck) -> AutoMachine:
        # Written first: a machine whose updates cannot succeed here is not stopped for one at each run.
        write_note(place, replace(note, tried=check.candidate))
        try:
            # What was decided on and is here, not what the reference may lead to by now.
            done = machine_update(
                place.name, candidate=check.candidate, connections=self.connections, progress=self.progress
            )
        except ConflictError:
            write_note(place, note)
            raise
        why = "it was updated" if done.status == "updated" else f"an update was undone: {done.reason}"
        tell_desktop(f"Machine {place.name}", why)
        return replace(_shown(check), status=done.status, why=why, when=None)


def _checked(
    place: Place, machine: Machine, note: AutoNote, source: FixSource | None, *, at_once: bool = False
) -> UpdateCheck:
    check = check_of(place, machine, note.candidate, source, at_once=at_once)
    if check.decision.action not in {Action.STAGE, Action.APPLY} or note.tried != note.candidate:
        return check
    following = turns(machine.id, machine.update.window, _now())[1]
    why = "it was tried and not kept, and is tried again in its turn"
    return replace(check, decision=replace(check.decision, due=False, when=following, why=why))


def _tell(place: Place, machine: Machine, note: AutoNote, check: UpdateCheck) -> None:
    """Tell the user once of each version, and once more when it is here."""
    is_here = check.status == "staged"
    kind = EventKind.UPDATE_STAGED if is_here else EventKind.UPDATE_FOUND
    told = f"{kind} {check.candidate}"
    if note.told == told:
        return
    fixed = f", {check.severity}: {', '.join(check.fixes)}" if check.severity and check.fixes else ""
    what = "An update is staged" if is_here else "There is an update"
    text = f"{what}{fixed}. haulout machine update {place.name}"
    known = {"severity": check.severity, "fixes": list(check.fixes) or None}
    publish(place.history, place.name, machine.id, kind, image=check.candidate, **known)
    tell_desktop(f"Machine {place.name}", text)
    if place.is_held("run.lock"):
        tell_guest(place, f"haulout: {text}")
    write_note(place, replace(note, told=told))


def _outlook(place: Place, source: FixSource | None) -> AutoMachine:
    """Say what is due for a machine, without asking a registry."""
    try:
        machine, note = place.load(), read_note(place)
        looked = note is not None and note.candidate
        if note is not None and note.candidate:
            shown = _shown(_checked(place, machine, note, source))
            if shown.candidate is not None:
                return shown
    except HauloutError as error:
        return AutoMachine(place.name, "failed", str(error))
    following = turns(machine.id, machine.update.window, _now())[1]
    status, why = ("current", "it runs the newest version") if looked else ("waiting", "it was not looked yet")
    return AutoMachine(place.name, status, f"{why}; its turn comes", following)


def _shown(check: UpdateCheck) -> AutoMachine:
    status = {Action.NOTHING: "current", Action.NOTIFY: "notified"}.get(check.decision.action, "waiting")
    status = "undone" if check.status == "undone" else status
    candidate = None if check.status == "current" else check.candidate
    return AutoMachine(check.name, status, check.decision.why, check.decision.when, candidate, check.severity)


def _now() -> datetime:
    return datetime.now()  # noqa: DTZ005 - local, as windows are


def _local(moment: datetime) -> datetime:
    return moment.astimezone().replace(tzinfo=None)
