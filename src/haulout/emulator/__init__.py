"""A TEE for developers without the hardware: real layouts, real chains of certificates, keys that anybody can make.

What it signs is accepted by :mod:`haulout.tee` under a policy that is marked as one for tests and
names the emulator's root, and by no other. Nothing protects a guest here: it emulates evidence, not protection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.emulator.boot import Boot
    from haulout.emulator.bundle import BINDING, scene
    from haulout.emulator.cca import CcaEmulator
    from haulout.emulator.snp import SnpEmulator
    from haulout.emulator.store import keep
    from haulout.emulator.tdx import TdxEmulator

from haulout.extras import require

require("cryptography", "cbor2")

__all__ = [
    "BINDING",
    "Boot",
    "CcaEmulator",
    "SnpEmulator",
    "TdxEmulator",
    "keep",
    "scene",
    "store",
]

open_face(
    __name__,
    {
        "boot": ("Boot",),
        "bundle": ("BINDING", "scene"),
        "cca": ("CcaEmulator",),
        "snp": ("SnpEmulator",),
        "store": ("keep",),
        "tdx": ("TdxEmulator",),
    },
)
