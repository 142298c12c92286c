"""Update machines to another system that has to prove itself."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from haulout.documents import Document
from haulout.errors import ConflictError, HauloutError, NotReady, UsageError
from haulout.machine import (
    Machines,
    Step,
    Switch,
    is_window,
    read_journal,
    remove_unused_bases,
    require_room,
    settle,
    use_of,
    within,
    write_journal,
)
from haulout.progress import NullProgress
from haulout.usecases.arguments import reference_of
from haulout.usecases.machine_init import pinned
from haulout.usecases.machine_lifecycle import machine_start, machine_stop, switch_system, wait_for_supervisor
from haulout.usecases.machine_rehearsal import rehearse_system
from haulout.usecases.machine_staging import plan_staging, stage_system
from haulout.usecases.machine_update_check import tell_of_digest

if TYPE_CHECKING:
    from haulout.machine import Journal, Machine, Place
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_LOOK_SECONDS: Final = 5.0
_TICK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class UpdatedMachine(Document):
    """What an update did, or would do."""

    name: str
    status: str
    """``current``: there is nothing newer; ``planned``: nothing was done; ``staged``: it is here;
    ``updated``; ``undone``: it did not prove itself, and the machine is as before; ``rolled-back``."""
    image: str
    """What the machine runs now, by digest."""
    candidate: str | None = None
    """What there is, by digest."""
    reason: str | None = None
    """Why it was undone, now or earlier."""
    fetched: int = 0
    """Bytes of blobs that were fetched, or would be."""
    needed: int = 0
    """Bytes that have to be free for it."""
    stops: tuple[str, ...] = ()
    """Containers that would be stopped for a while."""
    downtime: float | None = None
    """Seconds in which the machine did not answer: stop, boot and proof."""


def machine_update(  # noqa: PLR0913 - each is one word of the request
    name: str,
    *,
    to: str | Reference | None = None,
    dry_run: bool = False,
    stage: bool = False,
    when_idle: bool = False,
    window: str = "",
    rehearse: bool = False,
    force: bool = False,
    candidate: str | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> UpdatedMachine:
    """Update a machine: fetch, switch, and keep the new system if it has all that there was before.

    One that does not run is started for that, and stopped again. The supervisor of the machine carries it out: it goes
    on if this process ends.

    Args:
        name: of the machine.
        to: the reference of another disk; None: what its own reference leads to now.
        dry_run: find out what would be fetched and stopped, and do nothing.
        stage: only fetch it, while the machine goes on.
        when_idle: wait until nobody uses the machine; what cannot be found out counts as use.
        window: ``HH:MM-HH:MM``, local time: wait for it.
        rehearse: start the new system beside the machine first, with an empty data disk.
        force: also to an image that was undone before, and of a machine whose image is pinned.
        candidate: the disk that was decided on, by digest: it is taken, wherever its reference leads by now.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        UsageError: a value is not valid, or what is only staged is to wait, too.
        ConflictError: the image was undone before or is pinned, or another command updates the machine, or changed it
            while this one waited.
        StorageError: there is no room for it.
        NotReady: the machine does not run, and not because of the new system.
        HauloutError: as :func:`haulout.pull`; the machine is as before.
    """
    progress = progress or NullProgress()
    _check_words(window, waits=stage and bool(window or when_idle or rehearse))
    machines = Machines.here()
    place = machines.place(name)
    machine = place.load()
    with ExitStack() as held:
        held.enter_context(place.updating())
        journal = recovered(place, progress)
        machine = place.load()
        reference = reference_of(machine.image.reference if to is None else to)
        if candidate is None:
            found, digest = pinned(reference, connections, progress)
        else:
            found, digest = candidate, candidate.rpartition("@")[2]
        known = UpdatedMachine(name, "planned", machine.image.pinned, found)
        if digest == machine.image.digest:
            _stay(place, machine, None if to is None or dry_run or stage else reference, progress)
            return replace(known, status="current")
        bad = journal.bad_reason(digest) if journal is not None else None
        needs = plan_staging(machines, machine, found, connections, progress)
        planned = replace(known, fetched=needs.fetched, needed=needs.needed, stops=needs.stops)
        if dry_run:
            return replace(planned, reason=bad)
        if not force:
            _require_allowed(found, bad, name if machine.update.pin and to is None else None)
        require_room(place, planned.needed)
        journal, result = stage_system(machines, place, reference, found, connections, progress)
        fetched = 0 if result is None else result.moved.fetched
        staged = replace(planned, status="staged", fetched=fetched, stops=())
        if stage:
            return staged
        if rehearse and (undone := _rehearsed(machines, place, journal, progress)):
            return replace(staged, status="undone", reason=undone.reason)
        if window or when_idle:
            # A wait of hours keeps nobody from a rollback.
            held.close()
            _wait(place, window, progress, when_idle=when_idle)
            held.enter_context(place.updating())
            _require_unchanged(place, machine, journal)
        after = switch_or_start(place, Switch.UPDATE, read_journal(place) or journal, progress)
        image = place.load().image.pinned
        done = replace(staged, status="undone", image=image, reason=after.reason)
        if after.step is Step.COMMITTED:
            done = replace(staged, status="updated", image=image, downtime=after.downtime)
    remove_unused_bases(machines)
    return done


def _check_words(window: str, *, waits: bool) -> None:
    if not is_window(window):
        raise UsageError(f"{window[:40]!r} is not a time of day", hint="for example --window 02:00-05:00")
    if waits:
        raise UsageError("what is only staged is not applied", hint="leave out what to wait for, or --stage")


def _require_allowed(found: str, bad: str | None, pinned_machine: str | None) -> None:
    if bad is not None:
        raise ConflictError(
            f"{found} was undone on this machine before: {bad}", hint="--force tries it again; or name another --to"
        )
    if pinned_machine is not None:
        raise ConflictError(f"the image of machine {pinned_machine} is pinned", hint="name one: --to REF; or --force")


def recovered(place: Place, progress: Progress) -> Journal | None:
    """Return the journal, after what was cut short has been ended.

    Raises:
        ConflictError: it cannot be used.
        HauloutError: that cannot be ended.
    """
    try:
        journal = read_journal(place)
    except HauloutError as error:
        raise ConflictError(
            f"the journal of updates cannot be used: {error.message}",
            hint=f"the machine goes on as it is; to update it again, remove {place.file('update.json')}",
        ) from error
    if journal is None or not journal.is_under_way:
        return journal
    if place.is_held("run.lock") or place.is_held("vm.lock"):
        machine_start(place.name, connect=False, progress=progress)
    else:
        lock = place.take("run.lock")
        try:
            settle(place, progress.note, start=False)
        finally:
            os.close(lock)
    return read_journal(place)


def _wait(place: Place, window: str, progress: Progress, *, when_idle: bool) -> None:
    """Wait for a time of day, and until nobody uses a machine."""
    told = ""
    with progress.task("", None) as task:
        while True:
            # It may be removed meanwhile.
            place.load()
            running = place.is_held("run.lock") or place.is_held("vm.lock")
            reason = "" if within(window, datetime.now().time()) else f"waiting for {window}"  # noqa: DTZ005 - of this place
            if not reason and when_idle and running and (use := use_of(place)):
                reason = f"waiting until nobody uses it: {use}"
            if not reason:
                return
            if reason != told:
                progress.note(f"{place.name}: {reason}")
            told = reason
            for _ in range(int(_LOOK_SECONDS / _TICK_SECONDS)):
                time.sleep(_TICK_SECONDS)
                task.advance(0)


def _rehearsed(machines: Machines, place: Place, journal: Journal, progress: Progress) -> Journal | None:
    """Rehearse, and undo the update where that fails; return the journal, then."""
    reason, bad = rehearse_system(machines, place.load(), journal.new, progress)
    if not reason:
        return None
    return write_journal(place, (read_journal(place) or journal).undone(f"rehearsal: {reason}", bad=bad))


def _stay(place: Place, machine: Machine, reference: Reference | None, progress: Progress) -> None:
    """Have a machine that runs the disk of a reference already look there for what comes next."""
    if reference is None:
        tell_of_digest(place.name, machine, progress)
        return
    with place.lock():
        machine = place.load()
        place.save(replace(machine, image=replace(machine.image, reference=str(reference))))


def _require_unchanged(place: Place, machine: Machine, journal: Journal) -> None:
    """Require that a machine is the one it was, and that what is staged for it still is."""
    now, found = place.load(), read_journal(place)
    there = found is not None and found.step is Step.STAGED and found.new == journal.new
    if (now.id, now.image.digest) != (machine.id, machine.image.digest) or not there:
        raise ConflictError(f"machine {place.name} was changed while its update waited", hint="repeat the command")


def switch_or_start(
    place: Place, what: Switch, journal: Journal, progress: Progress, *, supervised: bool = True
) -> Journal:
    """Have a machine try another system, and return the journal of what came of it: ``committed`` or ``undone``.

    One that does not run is started for that, and stopped again.

    Args:
        place: of the machine.
        what: is tried.
        journal: of the system that is tried.
        progress: told what is waited for.
        supervised: False: it runs, but nobody answers for it, and it is to be ended first.

    Raises:
        NotReady: the machine does not run, and not because of the other system.
        HauloutError: files cannot be written.
    """
    running = place.is_held("run.lock") or place.is_held("vm.lock")
    try:
        if running and supervised:
            # It may be starting, or have lost its supervisor.
            if what is Switch.UPDATE:
                machine_start(place.name, connect=False, progress=progress)
            switch_system(place, what, progress)
        else:
            machine_stop(place.name, progress=progress)
            write_journal(place, journal.turned(Step.DUE))
            machine_start(place.name, connect=False, progress=progress)
    except NotReady:
        after = read_journal(place)
        if after is None or after.step is not Step.UNDONE:
            raise
        wait_for_supervisor(place)
    if not running:
        machine_stop(place.name, progress=progress)
    after = read_journal(place)
    if after is None or after.step not in {Step.COMMITTED, Step.UNDONE}:
        raise NotReady(place.name, "the switch was cut short; the next start, update or rollback ends it")
    return after
