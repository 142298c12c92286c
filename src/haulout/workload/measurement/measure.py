"""What a guest's launch measurement will be, before it is launched: what a policy lists as ``measurements``.

SEV-SNP guests that QEMU, EC2 or GCE starts with OVMF, with or without a kernel besides, are measured by the package
``sev-snp-measure``, which knows the contents of the initial processor states. There is nothing here for libkrun's
layout and for TDX: docs/adr/0017 says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from haulout.errors import ContentError, StorageError, UsageError
from haulout.extras import require

if TYPE_CHECKING:
    from pathlib import Path

MAX_VCPUS: Final = 512


class Vmm(StrEnum):
    """Who starts the guest: each sets the processors up differently."""

    QEMU = "QEMU"
    EC2 = "ec2"
    GCE = "gce"


@dataclass(frozen=True, slots=True)
class SnpGuest:
    """What is measured of an SEV-SNP guest with OVMF.

    Attributes:
        ovmf: the firmware, built for SEV.
        vcpus: how many processors it has.
        vcpu_type: their model in QEMU's words, such as ``EPYC-v4``.
        kernel, initrd, command_line: where QEMU starts the kernel itself; the firmware has to be built for that.
        guest_features: SEV_FEATURES; bit 0 is SNP itself. Which others a host sets depends on its kernel.
    """

    ovmf: Path
    vcpus: int
    vcpu_type: str = "EPYC-v4"
    kernel: Path | None = None
    initrd: Path | None = None
    command_line: str = ""
    guest_features: int = 1
    vmm: Vmm = Vmm.QEMU


def snp_launch_digest(guest: SnpGuest) -> bytes:
    """Return the 48 bytes that a report of this guest has as its measurement.

    Raises:
        ToolError: ``sev-snp-measure`` is not installed.
        UsageError: such a guest cannot be.
        ContentError: the firmware is none, or not built for SEV-SNP.
        StorageError: a file cannot be read.
    """
    require("sevsnpmeasure", extra="measure")
    from sevsnpmeasure.guest import calc_launch_digest  # noqa: PLC0415 - optional
    from sevsnpmeasure.sev_mode import SevMode  # noqa: PLC0415
    from sevsnpmeasure.vcpu_types import CPU_SIGS  # noqa: PLC0415
    from sevsnpmeasure.vmm_types import VMMType  # noqa: PLC0415

    if not 1 <= guest.vcpus <= MAX_VCPUS:
        raise UsageError(f"a guest with {guest.vcpus} processors cannot be; 1 to {MAX_VCPUS} can")
    if guest.vcpu_type not in CPU_SIGS:
        raise UsageError(f"unknown processor {guest.vcpu_type[:40]!r}", hint=f"known: {', '.join(CPU_SIGS)}")
    if guest.kernel is None and (guest.initrd is not None or guest.command_line):
        raise UsageError("an initrd or a command line is measured only beside a kernel")
    try:
        found = calc_launch_digest(
            SevMode.SEV_SNP,
            guest.vcpus,
            CPU_SIGS[guest.vcpu_type],
            str(guest.ovmf),
            str(guest.kernel or ""),
            str(guest.initrd or ""),
            guest.command_line,
            guest.guest_features,
            vmm_type=next(one for one in VMMType if one.name == guest.vmm),
        )
    except OSError as exc:
        raise StorageError(str(exc.filename or guest.ovmf), exc.strerror or "it cannot be read") from exc
    except (RuntimeError, ValueError, LookupError, AssertionError) as exc:
        reason = str(exc).split("\n", 1)[0][:120] or "its tables cannot be read"
        raise ContentError(
            f"{guest.ovmf} is no firmware for such a guest: {reason}", hint="OVMF has to be built for SEV-SNP"
        ) from exc
    return bytes(found)
