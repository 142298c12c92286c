"""An emulated TEE for one boot: it measures the files that QEMU was given, and signs as ``evidence emulate`` does."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from haulout.emulator import PLATFORMS, emulate
from haulout.errors import UsageError
from haulout.guests import Answer
from haulout.local import read_small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from haulout.guests import Emulator, Measured

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_LARGEST: Final = 1 << 20


def emulator_in(folder: Path) -> Emulator:
    """Return the emulator whose platforms are kept below a folder, one for each TEE."""

    def make(boot: Measured) -> Callable[[bytes], Answer]:
        values = {
            "snp": boot.binding.host_data,
            "tdx": boot.binding.mrconfigid,
            "cca": boot.binding.personalization,
        }
        if boot.tee not in PLATFORMS:
            raise UsageError(f"evidence of {boot.tee.upper()} cannot be emulated", hint="build with: --type snp")

        def sign(report_data: bytes) -> Answer:
            if not report_data:
                return Answer(boot.tee, b"")
            made = emulate(
                boot.tee,
                folder / boot.tee,
                boot=(boot.kernel, boot.initramfs),
                command_line=boot.command_line,
                report_data=report_data,
                workload=values[boot.tee],
            )
            evidence = read_small(made.files["evidence"], _LARGEST)
            chain = made.files.get("certificates")
            found = () if chain is None else tuple(map(b64decode, _PEM.findall(read_small(chain, _LARGEST))))
            return Answer(boot.tee, evidence, found)

        # The files must not be there in vain: what cannot be measured is an error before anything boots.
        sign(bytes(64))
        return sign

    return make
