"""The launch measurement to expect of a workload's guest, which a policy lists under ``measurements``.

It is given, or computed in one of two ways. SEV-SNP guests that QEMU, EC2 or GCE starts with OVMF, with or without a
kernel besides, are measured by the package ``sev-snp-measure``, which knows the contents of the initial processor
states; guests of libkrun by its program ``krunfw_measurement``. TDX guests are not measured: docs/adr/0017 says why.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

from haulout.errors import ContentError, ToolError, UsageError
from haulout.extras import require
from haulout.local import run, storage_error
from haulout.workload.krun import Tee

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.workload.krun import WorkloadConfig

MAX_VCPUS: Final = 512
PAGE: Final = 4096
_TOOL: Final = "krunfw_measurement"
_SECONDS: Final = 60
_SIZES: Final = {Tee.SEV: (32,), Tee.SNP: (48,), Tee.TDX: (48,), Tee.CCA: (32, 48, 64)}
_INFO: Final = struct.Struct("<48s48sHBBBBBBQ")
"""PAGE_INFO: digest so far, contents, length, page type, IMI flag, permissions of VMPL3 to 1, reserved, address."""


class Vmm(StrEnum):
    """What starts the guest: each sets the processors up differently."""

    QEMU = "QEMU"
    EC2 = "ec2"
    GCE = "gce"


@dataclass(frozen=True, slots=True)
class GivenMeasurement:
    """A measurement that is known, in hexadecimal."""

    text: str


@dataclass(frozen=True, slots=True)
class SnpGuest:
    """What is measured of an SEV-SNP guest with OVMF.

    Attributes:
        ovmf: the firmware, built for SEV.
        vcpu_type: model of its processors in QEMU's words, such as ``EPYC-v4``.
        kernel, initrd, command_line: where QEMU starts the kernel itself; the firmware has to be built for that.
        guest_features: SEV_FEATURES; bit 0 is SNP itself. Which others a host sets depends on its kernel.
    """

    ovmf: Path
    vcpu_type: str = "EPYC-v4"
    kernel: Path | None = None
    initrd: Path | None = None
    command_line: str = ""
    guest_features: int = 1
    vmm: Vmm = Vmm.QEMU


@dataclass(frozen=True, slots=True)
class KrunGuest:
    """A guest of libkrun: the library that holds its firmware."""

    library: Path


Measurement = GivenMeasurement | SnpGuest | KrunGuest
"""How the launch measurement is known."""


def expected_measurement(how: Measurement, config: WorkloadConfig, *, es: bool = True) -> bytes:
    """Return the measurement of a workload's guest.

    Args:
        how: it is known.
        config: TEE, processors and memory of the guest.
        es: for SEV, whether the guest's registers are encrypted.

    Raises:
        UsageError: it does not go with the TEE.
        HauloutError: as :func:`snp_launch_digest`; ToolError without krunfw_measurement, or where that fails.
    """
    match how:
        case GivenMeasurement(text):
            return _given(text, config.tee)
        case SnpGuest():
            if config.tee is not Tee.SNP:
                raise UsageError("--ovmf measures guests of SEV-SNP only", hint="use --measurement HEX")
            return snp_launch_digest(how, config.cpus)
        case KrunGuest(library):
            return _by_tool(library, config, es=es)


def _given(text: str, tee: Tee) -> bytes:
    digits = {2 * size for size in _SIZES[tee]}
    if len(text) not in digits or not re.fullmatch(r"[0-9a-fA-F]+", text):
        wanted = " or ".join(map(str, sorted(digits)))
        raise UsageError(f"a measurement of {tee.upper()} must have {wanted} hexadecimal digits")
    return bytes.fromhex(text)


def _by_tool(library: Path, config: WorkloadConfig, *, es: bool) -> bytes:
    if config.tee not in {Tee.SEV, Tee.SNP}:
        raise UsageError(f"libkrun's firmware can be measured for SEV and SEV-SNP, not for {config.tee.upper()}")
    line = "SNP" if config.tee is Tee.SNP else "SEV-ES" if es else "SEV"
    argv = [_TOOL, "-c", str(config.cpus), "-m", str(config.ram_mib), str(library)]
    done = run(argv, seconds=_SECONDS, hint="install it, or use --measurement HEX")
    found = re.search(rf"^{line}:\s*([0-9a-fA-F]{{64,96}})\s*$", done.out.decode("utf-8", "replace"), re.MULTILINE)
    if done.code or found is None:
        raise ToolError(_TOOL, f"cannot measure {library}: {done.said or f'it printed no line {line}:'}")
    return bytes.fromhex(found[1])


def snp_launch_digest(guest: SnpGuest, vcpus: int) -> bytes:
    """Return the 48 bytes that a report of this guest, with so many processors, has as its measurement.

    Raises:
        ToolError: ``sev-snp-measure`` is not installed.
        UsageError: there is no such guest.
        ContentError: the firmware is not one, or not built for SEV-SNP.
        StorageError: a file cannot be read.
    """
    require("sevsnpmeasure", extra="measure")
    from sevsnpmeasure.guest import calc_launch_digest  # noqa: PLC0415 - optional
    from sevsnpmeasure.sev_mode import SevMode  # noqa: PLC0415
    from sevsnpmeasure.vcpu_types import CPU_SIGS  # noqa: PLC0415
    from sevsnpmeasure.vmm_types import VMMType  # noqa: PLC0415

    if not 1 <= vcpus <= MAX_VCPUS:
        raise UsageError(f"a guest must have 1 to {MAX_VCPUS} processors (got {vcpus})")
    if guest.vcpu_type not in CPU_SIGS:
        raise UsageError(f"unknown processor {guest.vcpu_type[:40]!r}", hint=f"known: {', '.join(CPU_SIGS)}")
    if guest.kernel is None and (guest.initrd is not None or guest.command_line):
        raise UsageError("an initrd or a command line can be measured only with a kernel")
    try:
        found = calc_launch_digest(
            SevMode.SEV_SNP,
            vcpus,
            CPU_SIGS[guest.vcpu_type],
            str(guest.ovmf),
            str(guest.kernel or ""),
            str(guest.initrd or ""),
            guest.command_line,
            guest.guest_features,
            vmm_type=next(one for one in VMMType if one.name == guest.vmm),
        )
    except OSError as exc:
        raise storage_error(exc.filename or guest.ovmf, exc) from exc
    except (RuntimeError, ValueError, LookupError, AssertionError) as exc:
        reason = str(exc).split("\n", 1)[0][:120] or "its tables cannot be read"
        raise ContentError(
            f"{guest.ovmf} is not firmware for such a guest: {reason}", hint="OVMF has to be built for SEV-SNP"
        ) from exc
    return bytes(found)


class PageType(IntEnum):
    """What a page is, as the firmware distinguishes it."""

    NORMAL = 1
    VMSA = 2
    ZERO = 3
    UNMEASURED = 4
    SECRETS = 5
    CPUID = 6


class LaunchDigest:
    """The launch digest of SEV-SNP under way: what the firmware measures of a guest, page by page, before it runs.

    Source: AMD, SEV Secure Nested Paging Firmware ABI Specification (56860), SNP_LAUNCH_UPDATE. It begins with zeros.
    """

    def __init__(self) -> None:
        self.value = bytes(48)

    def add(self, kind: PageType, address: int, page: bytes | None = None) -> None:
        """Measure a page.

        Args:
            kind: its type. Contents are measured of normal pages and of VMSAs; of others, the type and the address.
            address: guest-physical, in bytes.
            page: its 4096 bytes, for the types that have contents.
        """
        measured = kind in {PageType.NORMAL, PageType.VMSA}
        if measured is not (page is not None) or (page is not None and len(page) != PAGE):
            raise ValueError(f"a page of type {kind.name} and its contents do not go together")
        contents = bytes(48) if page is None else hashlib.sha384(page).digest()
        self.value = hashlib.sha384(_INFO.pack(self.value, contents, _INFO.size, kind, 0, 0, 0, 0, 0, address)).digest()
