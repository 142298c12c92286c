"""Go back to the system that a machine had before its last update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.errors import NotReady
from haulout.machine import Machines, Switch, check_way_back, plan_rollback, remove_unused_bases, status
from haulout.progress import NullProgress
from haulout.usecases.machine_lifecycle import machine_start, wait_while_stopping
from haulout.usecases.machine_update import UpdatedMachine, recovered, switch_or_start

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
        return False
    return True


def machine_rollback(name: str, *, data: bool = False, progress: Progress | None = None) -> UpdatedMachine:
    """Go back to the system before the last update; the one that is left is not tried again by itself.

    The system before has to come up; else the machine stays with the one of today. A machine that does not run is
    started for that, and stopped again.

    Args:
        name: of the machine.
        data: whether the data goes back, too: what was written since the update is lost.
        progress: told what is waited for.

    Raises:
        ConflictError: there is no system to go back to; or podman's data was changed by the update, and ``data`` is
            not given; or the data of before is not kept any more.
        NotReady: the machine does not run, and not because of the system before.
        NotFoundError: there is no such machine.
    """
    progress = progress or NullProgress()
    machines = Machines.here()
    place = machines.place(name)
    place.load()
    with place.updating():
        back = check_way_back(place, recovered(place, progress), data=data)
        wait_while_stopping(place, progress)
        running = place.is_held("run.lock") or place.is_held("vm.lock")
        supervised = not running or _is_supervised(place, progress)
        what = Switch.ROLLBACK_DATA if data else Switch.ROLLBACK
        after = switch_or_start(place, what, plan_rollback(place, data=data), progress, supervised=supervised)
        image = place.load().image
    remove_unused_bases(machines)
    if image.digest != back.digest:
        return UpdatedMachine(name, "undone", image.pinned, back.pinned, after.reason)
    return UpdatedMachine(name, "rolled-back", image.pinned, after.new.pinned, downtime=after.downtime)
