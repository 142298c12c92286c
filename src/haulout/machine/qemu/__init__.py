"""QEMU as a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.machine.qemu.accel import qemu_here
    from haulout.machine.qemu.process import Qemu

__all__ = ["Qemu", "qemu_here"]

open_face(__name__, {"accel": ("qemu_here",), "process": ("Qemu",)})
