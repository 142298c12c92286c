"""QEMU as a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.machine.qemu.process import Qemu

__all__ = ["Qemu"]

open_face(__name__, {"process": ("Qemu",)})
