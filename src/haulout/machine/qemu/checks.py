"""What a start by QEMU needs, as far as that can be seen before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.machine.base import check_base
from haulout.machine.preflight import check_settings
from haulout.machine.qemu import accel, argv, virtiofsd

if TYPE_CHECKING:
    from haulout.machine.model import Machine
    from haulout.machine.store import Place


def check(machine: Machine, place: Place, architecture: str) -> None:
    """Check the mounts, the ports, the programs and the base image of a machine.

    Raises:
        StorageError: the base is gone or was changed, or a mount is not there.
        UsageError: mounts or ports are named twice.
        ToolError: QEMU or virtiofsd is missing.
    """
    check_settings(machine)
    accel.find(argv.program(architecture), architecture)
    if machine.mounts:
        virtiofsd.find()
    check_base(place.base(machine), machine.image.pinned)
