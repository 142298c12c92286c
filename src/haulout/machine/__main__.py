"""``python -m haulout.machine NAME``: the supervisor of a machine, started by ``machine start`` alone.

It says ``listening``, or what is wrong, on standard output, and closes it.
"""

from __future__ import annotations

import asyncio
import os
import sys

from haulout.errors import HauloutError
from haulout.machine.forward import allow_many_descriptors
from haulout.machine.qemu import Qemu
from haulout.machine.store import Machines
from haulout.machine.supervisor import supervise


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
