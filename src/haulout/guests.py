"""Guests that unlock confidential images, as a library: what ``haulout cw guest`` and ``haulout cw run`` do.

>>> from haulout import guests
>>> guests.Hardware("qemu-snp")
<Hardware.QEMU_SNP: 'qemu-snp'>

Functions take and return typed values; every failure is a :class:`haulout.HauloutError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.guest import Answer, GuestFiles
    from haulout.usecases.build_guest import build_guest
    from haulout.usecases.run_workload import (
        Emulator,
        Hardware,
        Measured,
        WorkloadRequest,
        WorkloadRun,
        run_workload,
        workload_arguments,
    )

__all__ = [
    "Answer",
    "Emulator",
    "GuestFiles",
    "Hardware",
    "Measured",
    "WorkloadRequest",
    "WorkloadRun",
    "build_guest",
    "run_workload",
    "workload_arguments",
]

open_face(
    __name__,
    {
        "guest": ("Answer", "GuestFiles"),
        "usecases.build_guest": ("build_guest",),
        "usecases.run_workload": (
            "Emulator",
            "Hardware",
            "Measured",
            "WorkloadRequest",
            "WorkloadRun",
            "run_workload",
            "workload_arguments",
        ),
    },
    "haulout",
)
