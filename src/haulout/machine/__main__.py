"""``python -m haulout.machine NAME``: the supervisor of a machine, started by ``machine start`` alone.

It says ``listening``, or what is wrong, on standard output, and closes it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from typing import TYPE_CHECKING

from haulout.errors import HauloutError
from haulout.machine.events import EventKind, publish
from haulout.machine.qemu import Qemu
from haulout.machine.store import Machines
from haulout.machine.supervision.forward import allow_many_descriptors
from haulout.machine.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.machine.provider import Provider
    from haulout.machine.store import Place


def main(name: str) -> int:
    """Supervise the machine of this name; return an exit code."""
    machines = Machines.here()

    def answer(text: str) -> None:
        os.write(1, text.encode("utf-8", "replace"))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)

    os.umask(0o077)
    allow_many_descriptors()
    try:
        place = machines.place(name)
        asyncio.run(supervise(place, Qemu(machines.cache / "accelerator.json"), lambda: answer("listening")))
    except (HauloutError, OSError) as error:
        answer(str(error))
        return 1
    return 0


async def supervise(place: Place, provider: Provider, listening: Callable[[], None]) -> None:
    """Run a machine to its end; an ephemeral one is removed then, with its data.

    Raises:
        ConflictError: it has a supervisor.
        HauloutError: its file cannot be used.
        OSError: a socket cannot be bound.
    """
    lock = place.take("run.lock")
    try:
        machine = place.load()
        place.prepare_runtime(machine)
        await Supervisor(place, provider).run(listening)
        if machine.ephemeral:
            shutil.rmtree(place.folder, ignore_errors=True)
            publish(place.history, place.name, machine.id, EventKind.REMOVED, kept_data=False)
    finally:
        os.close(lock)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
