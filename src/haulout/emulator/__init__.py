"""A TEE for developers without the hardware: real layouts, real chains of certificates, keys that anybody can make.

What it signs is accepted by :mod:`haulout.tee` under a policy that is marked as one for tests and
names the emulator's root, and by no other. Nothing protects a guest here: it emulates evidence, not protection.
"""

from haulout.extras import require

require("cryptography", "cbor2")

from haulout.emulator.boot import Boot  # noqa: E402 - only where the packages are
from haulout.emulator.cca import CcaEmulator  # noqa: E402
from haulout.emulator.snp import SnpEmulator  # noqa: E402
from haulout.emulator.tdx import TdxEmulator  # noqa: E402

__all__ = ["Boot", "CcaEmulator", "SnpEmulator", "TdxEmulator"]
