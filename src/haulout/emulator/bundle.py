"""A piece of emulated evidence with all that is needed to judge it, as files: evidence, certificates, policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.emulator.cca import CcaEmulator, CcaState
from haulout.emulator.snp import SnpEmulator, SnpState
from haulout.emulator.store import kind_of, root_of
from haulout.emulator.tdx import TdxState
from haulout.tee import Kind

if TYPE_CHECKING:
    from datetime import datetime

    from haulout.emulator.boot import Boot
    from haulout.emulator.store import Emulator

BINDING: Final = {Kind.SNP: 32, Kind.TDX: 48, Kind.CCA: 64}
"""Bytes of what binds a workload: HOST_DATA, MRCONFIGID, personalization value."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The files, by name.

    Attributes:
        measurement: of what was booted.
    """

    files: dict[str, bytes] = field(repr=False)
    measurement: bytes


def scene(emulator: Emulator, boot: Boot, at: datetime, *, report_data: bytes, workload: bytes | None = None) -> Scene:
    """Make evidence, and a policy for tests that accepts it, and it alone.

    Args:
        emulator: the platform.
        boot: what it boots.
        at: the time, for collateral.
        report_data: the 64 bytes that the guest chooses.
        workload: what binds the workload; its length depends on the TEE.
    """
    kind = kind_of(emulator)
    bound = workload or bytes(BINDING[kind])
    files: dict[str, bytes] = {}
    match emulator:
        case SnpEmulator():
            files["evidence.bin"] = emulator.report(report_data, boot, SnpState(host_data=bound))
            files["certificates.pem"] = emulator.certificates()
            measurement = boot.snp()
            table = [
                f'products = ["{emulator.product}"]',
                f'measurements = ["{measurement.hex()}"]',
                f'host-data = ["{bound.hex()}"]',
            ]
        case CcaEmulator():
            files["evidence.bin"] = emulator.token(report_data, boot, CcaState(personalization=bound))
            files["certificates.pem"] = emulator.certificates()
            measurement = boot.rim()
            table = [f'rim = ["{measurement.hex()}"]', f'personalization = ["{bound.hex()}"]']
        case _:
            files["evidence.bin"] = emulator.quote(report_data, boot, TdxState(mrconfigid=bound))
            files["collateral.json"] = emulator.collateral(at)
            measurement = boot.mrtd()
            table = [f'mrtd = ["{measurement.hex()}"]']
            table += [f'rtmr{number} = ["{value.hex()}"]' for number, value in enumerate(boot.rtmr())]
            table += [f'mrconfigid = ["{bound.hex()}"]']
    lines = [
        "# For tests: it trusts an emulator, whose evidence anybody with its keys can make.",
        "schema = 1",
        'name = "emulator"',
        "test = true",
        f'roots = ["{root_of(emulator).fingerprint()}"]',
        "",
        f"[{kind}]",
        *table,
    ]
    files["policy.toml"] = ("\n".join(lines) + "\n").encode()
    return Scene(files, measurement)
