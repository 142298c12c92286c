"""Start another system beside a machine, to see whether it boots."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from haulout.errors import HauloutError, NotReady
from haulout.machine import make_key, new_machine
from haulout.usecases.machine_lifecycle import hold, machine_start
from haulout.usecases.machine_query import machine_inspect
from haulout.usecases.machine_rm import machine_rm

if TYPE_CHECKING:
    from haulout.machine import Image, Machine, Machines
    from haulout.progress import Progress


def rehearse_system(machines: Machines, machine: Machine, image: Image, progress: Progress) -> tuple[str, bool]:
    """Start the new system beside the machine, without its data, ports and mounts.

    Returns:
        Why it did not prove itself, or "", and whether that is the image's fault.
    """
    other = machines.place(f"{machine.name[:20].rstrip('-')}-rehearsal")
    with suppress(HauloutError):
        if other.load().ephemeral:
            # Of a rehearsal that was killed; one that runs stays.
            machine_rm(other.name, data=True)
    with new_machine(other):
        make_key(other)
        other.save(
            replace(machine, name=other.name, id=str(uuid.uuid4()), image=image, ephemeral=True, mounts=(), forwards=())
        )
    try:
        machine_start(other.name, seconds=machine.update.health_seconds, connect=False, progress=progress)
        with hold(other):
            wanted = {each.name for each in machine_inspect(machine.name).sockets if each.answers}
            there = {each.name for each in machine_inspect(other.name).sockets if each.answers}
            lacks = sorted(wanted - there)
            return (f"it has no {', '.join(lacks)}" if lacks else ""), bool(lacks)
    except NotReady as error:
        # QEMU that failed is this host's fault, as is all that kept it from beginning.
        return error.reason, bool(error.console) and not error.reason.startswith("QEMU ")
    finally:
        with suppress(HauloutError):
            machine_rm(other.name, data=True, force=True)
