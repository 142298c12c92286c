"""The switch: from one system of a machine to another, and back. The supervisor holds it, and nothing else.

Before the virtual machine starts, :func:`settle` brings files and journal to where they belong, whatever was killed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from haulout.errors import ConflictError, HauloutError
from haulout.local import printable, read_small, replace_file, storage_errors, wrong_file
from haulout.machine.events import EventKind, publish
from haulout.machine.partial import partial_base
from haulout.machine.update import data_disk
from haulout.machine.update.journal import (
    LONGEST,
    Action,
    Journal,
    Step,
    Switch,
    begin_rollback,
    decide,
    is_data_due,
    is_migrated,
    parse,
    rolled_back,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.machine.model import Image, Machine
    from haulout.machine.store import Place

_FILE: Final = "update.json"
_LOCK_TRIES: Final = 12
KILLED: Final = "haulout or the host was stopped while the new system was being tried"


def read_journal(place: Place) -> Journal | None:
    """Return the journal; None where there is none.

    Raises:
        InvalidFile: it is damaged, or of a newer version.
        StorageError: it cannot be read.
    """
    path = place.file(_FILE)
    with storage_errors(path):
        if not path.exists():
            return None
    return parse(read_small(path, LONGEST), wrong_file(path))


def write_journal(place: Place, journal: Journal) -> Journal:
    """Write the journal, durably and in one step.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors(place.file(_FILE), doing="cannot be written"):
        replace_file(place.file(_FILE), journal.to_json().encode(), mode=0o600)
    return journal


def take_over(place: Place) -> None:
    """Give a first system the name of its image: from now on there may be others. An older haulout could not go on.

    Raises:
        HauloutError: that cannot be written.
    """
    with place.lock():
        machine = place.load()
        # In today's version, which an older haulout leaves alone.
        place.save(machine)
        with storage_errors(place.folder, doing="cannot be written"):
            place.file("slots").mkdir(exist_ok=True, mode=0o700)
            for found in (place.system(machine.image), place.variables(machine.image)):
                if found.parent == place.folder:
                    found.rename(place.file("slots") / f"{machine.image.slot}{found.suffix}")


def settle(
    place: Place, say: Callable[[str], None], *, start: bool = True, switching: bool = False
) -> tuple[Machine, Journal | None]:
    """Bring files and journal to where they belong; no virtual machine runs.

    Args:
        place: of the machine.
        say: told what is waited for.
        start: whether the machine starts now: only then is a system tried that is due.
        switching: whether the step before was this process's, and the other system is to be tried now.

    Returns:
        The machine to start, and the journal of the trial if it is one.

    Raises:
        HauloutError: files cannot be written.
    """
    machine = place.load()
    try:
        journal = read_journal(place)
    except HauloutError as error:
        # The machine file names the system and its data: the way back is lost, and nothing else.
        say(f"the journal of updates cannot be used, and is left as it is: {error.message}")
        return machine, None
    action = decide(journal, machine.image.digest, running=False)
    if journal is not None and start and (action is Action.TRY or switching):
        return _enter(place, machine, journal, say), journal
    settled = note(place, machine, journal, action)
    data_disk.keep_current(place, machine.image)
    if is_data_due(settled):
        try:
            unite(place, machine.image, say)
        except HauloutError as error:
            # Both parts together are whole, as before.
            say(f"the data disk stays in two parts: {error}")
    return machine, None


def rest(place: Place, say: Callable[[str], None]) -> None:
    """Let the data of a machine that does not run be one file, and end what was cut short; its lock is held.

    Raises:
        HauloutError: files cannot be written.
    """
    machine, _ = settle(place, say, start=False)
    unite(place, machine.image, say)


def note(place: Place, machine: Machine, journal: Journal | None, action: Action) -> Journal | None:
    """Write down what the files show of an update that was cut short; return the journal.

    Raises:
        StorageError: it cannot be written.
    """
    if journal is None:
        return None
    match action:
        case Action.UNDO:
            # Nothing is written first: what is given up may be what fills the disk.
            return undo(place, machine, journal, KILLED, bad=False)
        case Action.CLOSE:
            return undo(place, machine, journal, "haulout or the host was stopped before the switch", bad=False)
        case Action.COMMIT:
            return _keep(place, machine, journal)
        case Action.ROLLED_BACK:
            return write_journal(place, rolled_back(journal, journal.left, machine.image))
        case _:
            return journal


def forget_running(place: Place) -> None:
    """Note that what ran before a switch runs again, as far as it can.

    Raises:
        HauloutError: the journal cannot be read or written.
    """
    if (journal := read_journal(place)) is not None and journal.running:
        write_journal(place, replace(journal, running={}))


def give_up_before(place: Place) -> None:
    """Note that the data of before an update cannot be brought back any more.

    Raises:
        HauloutError: the journal cannot be read or written.
    """
    if (journal := read_journal(place)) is not None and journal.data_kept:
        write_journal(place, replace(journal, data_kept=False))


def unite(place: Place, image: Image, say: Callable[[str], None]) -> None:
    """Let the data disk be one file again: what was before an update cannot be brought back any more.

    Raises:
        HauloutError: it cannot be written.
    """
    if not place.data_since(image).exists():
        return
    with suppress(HauloutError):
        give_up_before(place)
    say("writing what changed since the last update into the data disk")
    data_disk.unite(place, image)


def _enter(place: Place, machine: Machine, journal: Journal, say: Callable[[str], None]) -> Machine:
    """Go on to the other system, on data that can be given up; the machine file still names the old one."""
    write_journal(place, journal.turned(Step.TRYING))
    if journal.kind is not Switch.ROLLBACK_DATA:
        unite(place, machine.image, say)
    data_disk.grow(place, machine)
    data_disk.divide(place, journal.new)
    say(f"trying the system of {journal.new.reference}")
    return replace(machine, image=journal.new)


def commit(place: Place, podman: str, downtime: float | None) -> Machine:
    """Keep the other system, and what it wrote: by one replacement of the machine file.

    Raises:
        HauloutError: it cannot be written; the machine file says whether it was kept nevertheless.
    """
    journal = read_journal(place)
    if journal is None:
        raise ConflictError(f"the journal of the update of machine {place.name} is gone")
    # First: whoever ends this where it was cut short does not know it any more.
    journal = write_journal(place, replace(journal, new_podman=podman, downtime=downtime))
    for left in reversed(range(_LOCK_TRIES)):
        try:
            with place.lock():
                # It may have been changed meanwhile, as by machine set.
                machine = replace(place.load(), image=journal.new)
                place.save(machine)
            break
        except ConflictError:
            if not left:
                raise
    _keep(place, machine, journal)
    return machine


def _keep(place: Place, machine: Machine, journal: Journal) -> Journal:
    """Note that the machine file names the other system."""
    if journal.kind is not Switch.UPDATE:
        made = write_journal(place, rolled_back(journal, journal.old, journal.new))
        data_disk.keep_current(place, journal.new)
        prune(place, journal.new)
        _tell(place, machine, EventKind.ROLLED_BACK, journal, before=journal.old.pinned)
        return made
    kept = place.data_since(journal.new).exists()
    made = write_journal(place, journal.turned(Step.COMMITTED, data_kept=kept, previous=None, running={}))
    prune(place, journal.old, journal.new)
    _tell(place, machine, EventKind.UPDATED, journal, before=journal.old.pinned)
    return made


def end_trial(place: Place, journal: Journal, reason: str, *, bad: bool) -> bool:
    """End a trial whose system does not run any more; return whether it was undone, and not kept already.

    Raises:
        HauloutError: files cannot be read, removed or written; the next start does it.
    """
    machine = place.load()
    action = decide(journal, machine.image.digest, running=False)
    if action not in {Action.UNDO, Action.CLOSE}:
        note(place, machine, journal, action)
        return False
    undo(place, machine, journal, reason, bad=bad)
    return True


def undo(place: Place, machine: Machine, journal: Journal, reason: str, *, bad: bool) -> Journal:
    """Give up the other system and what it wrote; it does not run any more.

    Raises:
        StorageError: files cannot be removed, or the journal not be written.
    """
    data_disk.give_up(place, journal.new)
    made = write_journal(place, journal.undone(printable(reason), bad=bad))
    prune(place, journal.old, *([] if journal.previous is None else [journal.previous]))
    _tell(place, machine, EventKind.UNDONE, journal, reason=made.reason)
    return made


def _tell(place: Place, machine: Machine, kind: EventKind, journal: Journal, **data: str) -> None:
    publish(place.history, place.name, machine.id, kind, image=journal.new.pinned, **data)


def prune(place: Place, *kept: Image) -> None:
    """Remove the systems of all other images; their bases go with the next command that looks for unused ones."""
    names = {path.name for image in kept for path in (place.system(image), place.variables(image))}
    with suppress(OSError):
        for path in place.file("slots").iterdir():
            if path.name not in names and path.is_file():
                path.unlink()


def plan_rollback(place: Place, *, data: bool) -> Journal:
    """Return the journal of a rollback, which is to be written: the system before has to come up, or it is undone.

    Raises:
        ConflictError: there is no way back, or not without the data, or not with it.
        HauloutError: the journal cannot be read.
    """
    journal = read_journal(place)
    check_way_back(place, journal, data=data)
    assert journal is not None
    return begin_rollback(journal, Switch.ROLLBACK_DATA if data else Switch.ROLLBACK)


def check_way_back(place: Place, journal: Journal | None, *, data: bool) -> Image:
    """Return the image a rollback leads to.

    Raises:
        ConflictError: there is none, or not without the data, or not with it.
    """
    if journal is None or journal.way_back is None or not place.system(journal.way_back[0]).exists():
        raise ConflictError(f"machine {place.name} has no system to go back to")
    image, there, here = journal.way_back
    base = place.base(replace(place.load(), image=image))
    if not base.exists() and partial_base(base) is None:
        raise ConflictError(f"the disk of the system that machine {place.name} had before is gone: {image.pinned}")
    # A journal that another command had in its hands may say so for too long.
    kept = journal.data_kept and place.data_since(journal.left).exists()
    if data and not kept:
        raise ConflictError(f"the data of machine {place.name} from before the update is not kept any more")
    if not data and is_migrated(there, here):
        # Where neither is known, there is no podman.
        what = f"changed podman's data from {there} to {here}" if there and here else "may have changed podman's data"
        raise ConflictError(
            f"the update {what}, which the system before may not read",
            hint=f"haulout machine rollback {place.name} --data brings back the data from before the update, too"
            if kept
            else None,
        )
    return image
