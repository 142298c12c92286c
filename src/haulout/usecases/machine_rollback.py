"""Go back to the system that a machine had before its last update."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from haulout.errors import ConflictError, NotReady
from haulout.machine import (
    Machines,
    Switch,
    check_way_back,
    read_journal,
    remove_unused_bases,
    roll_back,
    settle,
    status,
)
from haulout.progress import NullProgress
from haulout.usecases.machine_lifecycle import machine_start, machine_stop, switch_system, wait_while_stopping
from haulout.usecases.machine_update import UpdatedMachine, recovered

if TYPE_CHECKING:
    from haulout.machine import Place
    from haulout.progress import Progress


def _is_supervised(place: Place, progress: Progress) -> bool:
    """Return whether a machine that runs has a supervisor to ask, or gets one; a system that never answers is ended."""
    if status(place) is not None:
        # Ready or not: whoever goes back may do so as the system of today does not boot, or hangs.
        return True
    try:
        machine_start(place.name, connect=False, progress=progress)
    except NotReady as error:
        progress.note(f"{place.name}: {error.reason}")
        machine_stop(place.name, progress=progress)
        return False
    return True


def machine_rollback(name: str, *, data: bool = False, progress: Progress | None = None) -> UpdatedMachine:
    """Go back to the system before the last update; the one that is left is not tried again by itself.

    Args:
        name: of the machine.
        data: whether the data goes back, too: what was written since the update is lost.
        progress: told what is waited for.

    Raises:
        ConflictError: there is no system to go back to; or podman's data was changed by the update, and ``data`` is
            not given; or the data of before is not kept any more.
        NotReady: the machine does not come up.
        NotFoundError: there is no such machine.
    """
    progress = progress or NullProgress()
    machines = Machines.here()
    place = machines.place(name)
    place.load()
    with place.updating():
        begun = time.monotonic()
        back = check_way_back(place, recovered(place, progress), data=data)
        wait_while_stopping(place, progress)
        running = place.is_held("run.lock") or place.is_held("vm.lock")
        supervised = running and _is_supervised(place, progress)
        if supervised:
            switch_system(place, Switch.ROLLBACK_DATA if data else Switch.ROLLBACK, progress)
        else:
            lock = place.take("run.lock")
            try:
                settle(place, progress.note, start=False)
                roll_back(place, progress.note, data=data)
            finally:
                os.close(lock)
            if running:
                machine_start(name, connect=False, progress=progress)
        if place.load().image.digest != back.digest:
            raise ConflictError(f"machine {name} was stopped before it went back", hint="repeat the command")
        done = time.monotonic() - begun
    remove_unused_bases(machines)
    journal = read_journal(place)
    return UpdatedMachine(
        name,
        "rolled-back",
        place.load().image.pinned,
        journal.new.pinned if journal is not None else None,
        downtime=done if running else None,
    )
