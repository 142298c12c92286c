"""The attestation report of SEV-SNP: 1184 bytes, of which 672 are signed.

Source: AMD, SEV Secure Nested Paging Firmware ABI Specification (56860), table ATTESTATION_REPORT. Everything is
little-endian. Parsing does not verify: only the length is a condition.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final

from haulout.documents import Document
from haulout.errors import InvalidEvidence

SIZE: Final = 1184
SIGNED: Final = 0x2A0
"""Bytes that the signature covers."""
VERSIONS: Final = (2, 3, 4, 5)
"""Report versions whose layout is known."""

_COMPONENT: Final = 72
"""Bytes of each of the signature's two numbers, of which P-384 uses 48."""

SIGNER_VCEK: Final = 0
SIGNER_VLEK: Final = 1


class Product(StrEnum):
    """A line of processors."""

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"


@dataclass(frozen=True, slots=True, order=False)
class Tcb:
    """Security versions of what runs below the guest; ``fmc`` is None before Turin."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int | None = None

    @property
    def parts(self) -> dict[str, int]:
        """Return the versions by their names."""
        found = {"bootloader": self.bootloader, "tee": self.tee, "snp": self.snp, "microcode": self.microcode}
        return found if self.fmc is None else {"fmc": self.fmc, **found}

    def below(self, other: Tcb) -> tuple[str, ...]:
        """Name the components that are older than another's. Two TCBs have no order: each may be older in some."""
        mine = self.parts
        return tuple(name for name, value in other.parts.items() if mine.get(name, 0) < value)


def read_tcb(raw: bytes, product: Product) -> Tcb:
    """Read the 8 bytes of a TCB version, whose layout depends on the product."""
    if product is Product.TURIN:
        return Tcb(fmc=raw[0], bootloader=raw[1], tee=raw[2], snp=raw[3], microcode=raw[7])
    return Tcb(bootloader=raw[0], tee=raw[1], snp=raw[6], microcode=raw[7])


@dataclass(frozen=True, slots=True)
class GuestPolicy:
    """What the guest's owner demanded of the platform at launch, 64 bits."""

    bits: int

    json_members: ClassVar = ("bits=shown", "debug", "migration_agent", "smt", "single_socket")

    shown = property(lambda self: f"{self.bits:#x}")
    smt = property(lambda self: bool(self.bits >> 16 & 1))
    must_be_one = property(lambda self: bool(self.bits >> 17 & 1))
    migration_agent = property(lambda self: bool(self.bits >> 18 & 1))
    debug = property(lambda self: bool(self.bits >> 19 & 1))
    single_socket = property(lambda self: bool(self.bits >> 20 & 1))
    reserved = property(lambda self: self.bits >> 26)


PLATFORM_BITS: Final = {
    "smt": 0,
    "tsme": 1,
    "ecc": 2,
    "rapl-off": 3,
    "ciphertext-hiding": 4,
    "alias-check": 5,
    "tio": 7,
}
"""Names of the bits of PLATFORM_INFO."""


@dataclass(frozen=True, slots=True)
class Firmware:
    """A version of the SNP firmware."""

    major: int
    minor: int
    build: int

    json_members: ClassVar = str

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.build}"


@dataclass(frozen=True, slots=True)
class Cpuid:
    """Which processor it is; since report version 3."""

    family: int
    model: int
    stepping: int

    @property
    def product(self) -> Product | None:
        """Return the product line of family and model; None where it is not a known one."""
        if self.family == 0x19:
            if self.model <= 0x0F:
                return Product.MILAN
            if 0x10 <= self.model <= 0x1F or 0xA0 <= self.model <= 0xAF:
                return Product.GENOA
        if self.family == 0x1A and self.model <= 0x11:
            return Product.TURIN
        return None


@dataclass(frozen=True, slots=True)
class SnpReport(Document):
    """A report as it was parsed; nothing about it is verified.

    Attributes:
        signed: the bytes that the signature covers.
        r, s: the signature's numbers, each 72 bytes, little-endian.
        tail: what follows them; all zero in a genuine report.
    """

    version: int
    guest_svn: int
    policy: GuestPolicy
    family_id: bytes
    image_id: bytes
    vmpl: int
    signature_algorithm: int
    current_tcb: bytes
    platform_info: int
    key_info: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    cpuid: Cpuid | None
    chip_id: bytes
    committed_tcb: bytes
    current_firmware: Firmware
    committed_firmware: Firmware
    launch_tcb: bytes
    launch_mitigations: int | None
    current_mitigations: int | None
    signed: bytes = field(repr=False)
    r: bytes = field(repr=False)
    s: bytes = field(repr=False)
    tail: bytes = field(repr=False)

    json_members: ClassVar = (
        "version",
        "guest_svn",
        "vmpl",
        "policy",
        "measurement",
        "report_data",
        "host_data",
        "chip_id",
        "cpuid",
        "platform",
        "firmware=current_firmware",
        "family_id",
        "image_id",
        "id_key_digest",
        "author_key_digest=author_key",
        "report_id",
        "launch_mitigations",
        "current_mitigations",
    )

    @property
    def author_key(self) -> bytes | None:
        """Return the digest of the author's key that signed the ID key; None where there is none."""
        return self.author_key_digest if self.key_info & 1 else None

    @property
    def signer(self) -> int:
        """Return whose key signed: 0 VCEK, 1 VLEK, 7 none."""
        return self.key_info >> 2 & 7

    @property
    def platform(self) -> tuple[str, ...]:
        """Name the bits of PLATFORM_INFO that are set."""
        return tuple(name for name, bit in PLATFORM_BITS.items() if self.platform_info >> bit & 1)


def recognise(data: bytes) -> bool:
    """Return whether bytes are a report, by their length.

    Raises:
        InvalidEvidence: they begin like one, but have another length.
    """
    if len(data) == SIZE:
        return True
    if len(data) >= 4 and struct.unpack_from("<I", data)[0] in VERSIONS:
        hint = f"if a report is all that counts in it: head -c {SIZE} FILE > report.bin" if len(data) > SIZE else None
        raise InvalidEvidence("SEV-SNP report", f"it has {len(data)} bytes; a report has {SIZE}", hint=hint)
    return False


def parse(data: bytes) -> SnpReport:
    """Parse a report.

    Raises:
        InvalidEvidence: its length is wrong.
    """
    if len(data) != SIZE:
        raise InvalidEvidence("SEV-SNP report", f"it has {len(data)} bytes; a report has {SIZE}")
    (version, guest_svn, policy) = struct.unpack_from("<IIQ", data, 0)
    (vmpl, algorithm) = struct.unpack_from("<II", data, 0x30)
    (platform_info, key_info) = struct.unpack_from("<QI", data, 0x40)
    (launch_mitigations, current_mitigations) = struct.unpack_from("<QQ", data, 0x1F8)
    return SnpReport(
        version=version,
        guest_svn=guest_svn,
        policy=GuestPolicy(policy),
        family_id=data[0x10:0x20],
        image_id=data[0x20:0x30],
        vmpl=vmpl,
        signature_algorithm=algorithm,
        current_tcb=data[0x38:0x40],
        platform_info=platform_info,
        key_info=key_info,
        report_data=data[0x50:0x90],
        measurement=data[0x90:0xC0],
        host_data=data[0xC0:0xE0],
        id_key_digest=data[0xE0:0x110],
        author_key_digest=data[0x110:0x140],
        report_id=data[0x140:0x160],
        report_id_ma=data[0x160:0x180],
        reported_tcb=data[0x180:0x188],
        cpuid=Cpuid(data[0x188], data[0x189], data[0x18A]) if version >= 3 else None,
        chip_id=data[0x1A0:0x1E0],
        committed_tcb=data[0x1E0:0x1E8],
        current_firmware=Firmware(data[0x1EA], data[0x1E9], data[0x1E8]),
        committed_firmware=Firmware(data[0x1EE], data[0x1ED], data[0x1EC]),
        launch_tcb=data[0x1F0:0x1F8],
        launch_mitigations=launch_mitigations if version >= 5 else None,
        current_mitigations=current_mitigations if version >= 5 else None,
        signed=data[:SIGNED],
        r=data[SIGNED : SIGNED + _COMPONENT],
        s=data[SIGNED + _COMPONENT : SIGNED + 2 * _COMPONENT],
        tail=data[SIGNED + 2 * _COMPONENT :],
    )
