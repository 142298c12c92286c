"""A TEE for developers without the hardware: real layouts, real chains of certificates, keys that anyone can make.

:mod:`haulout.tee` accepts what it signs under a policy that is marked as one for tests and names the emulator's root,
and under no other. Nothing protects a guest here: it emulates evidence, not protection. For cli and tests only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.emulator.boot import Boot
    from haulout.emulator.bundle import Platform, make_bundle
    from haulout.emulator.cca import CcaEmulator
    from haulout.emulator.emulate import EmulatedEvidence, emulate
    from haulout.emulator.snp import SnpEmulator
    from haulout.emulator.store import PLATFORMS
    from haulout.emulator.tdx import TdxEmulator

from haulout.extras import require

require("cryptography", "cbor2")

__all__ = [
    "PLATFORMS",
    "Boot",
    "CcaEmulator",
    "EmulatedEvidence",
    "Platform",
    "SnpEmulator",
    "TdxEmulator",
    "emulate",
    "make_bundle",
]

open_face(
    __name__,
    {
        "boot": ("Boot",),
        "bundle": ("Platform", "make_bundle"),
        "cca": ("CcaEmulator",),
        "emulate": ("EmulatedEvidence", "emulate"),
        "snp": ("SnpEmulator",),
        "store": ("PLATFORMS",),
        "tdx": ("TdxEmulator",),
    },
)
