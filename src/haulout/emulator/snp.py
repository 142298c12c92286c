"""An emulated AMD processor: ARK, ASK, ASVK, a VCEK for its chip and TCB, a VLEK, and the reports that they sign."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from haulout.emulator import authorities, der
from haulout.emulator.bundle import Evidence, listed
from haulout.tee.snp import SIGNED, SIZE, Product, Signer, Tcb
from haulout.tee.snp import endorsement as oid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from haulout.emulator.authorities import Authority
    from haulout.emulator.boot import Boot

_CPUID: Final = {
    Product.MILAN: (0x19, 0x01, 0x01),
    Product.GENOA: (0x19, 0x11, 0x01),
    Product.TURIN: (0x1A, 0x02, 0x01),
}
DEFAULT_POLICY: Final = 1 << 17 | 1 << 16
"""Guest policy: hyper-threading is allowed, debugging and migration are not."""
CSP: Final = "CN=cloud.haulout.example"


@dataclass(frozen=True, slots=True)
class SnpState:
    """What a report says about guest and platform, besides measurement and report data."""

    version: int = 5
    guest_svn: int = 0
    policy: int = DEFAULT_POLICY
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    vmpl: int = 0
    signature_algorithm: int = 1
    platform_info: int = 0b10_0101
    key_info: int | None = None
    host_data: bytes = bytes(32)
    id_key_digest: bytes = bytes(48)
    author_key_digest: bytes = bytes(48)
    report_id: bytes = bytes(32)
    report_id_ma: bytes = b"\xff" * 32
    cpuid: tuple[int, int, int] | None = None
    chip_id: bytes | None = None
    reported_tcb: Tcb | None = None
    committed_tcb: Tcb | None = None
    current_tcb: Tcb | None = None
    launch_tcb: Tcb | None = None
    mitigations: int = 0


@dataclass(frozen=True, slots=True)
class SnpEmulator:
    """An emulated processor, with everything above it."""

    product: Product
    chip_id: bytes
    tcb: Tcb
    ark: Authority = field(repr=False)
    ask: Authority = field(repr=False)
    asvk: Authority = field(repr=False)
    vcek: Authority = field(repr=False)
    vlek: Authority = field(repr=False)

    kind: ClassVar = "snp"
    binding: ClassVar = 32

    @property
    def root(self) -> Authority:
        """Return the root of its chain."""
        return self.ark

    @classmethod
    def make(cls, at: datetime, *, product: Product = Product.GENOA, tcb: Tcb | None = None) -> SnpEmulator:
        """Make a processor, with keys of its own. Three RSA keys take some seconds."""
        ark = authorities.issue(f"ARK-{product}", authorities.rsa_key(), at, authority=True)
        ask = authorities.issue(f"SEV-{product}", authorities.rsa_key(), at, issuer=ark, authority=True, path_length=0)
        asvk = authorities.issue(
            f"SEV-VLEK-{product}", authorities.rsa_key(), at, issuer=ark, authority=True, path_length=0
        )
        return cls.below(product, at, ark, ask, asvk, tcb=tcb)

    @classmethod
    def below(
        cls,
        product: Product,
        at: datetime,
        ark: Authority,
        ask: Authority,
        asvk: Authority,
        *,
        tcb: Tcb | None = None,
    ) -> SnpEmulator:
        """Make a processor below existing authorities."""
        chip = os.urandom(8).ljust(64, b"\0") if product is Product.TURIN else os.urandom(64)
        # Microcode from 128 on is where careless readers of DER integers go wrong.
        level = tcb or Tcb(4, 0, 24, 219, 1 if product is Product.TURIN else None)
        vcek = endorse(Signer.VCEK, product, level, ask, at, chip_id=chip)
        vlek = endorse(Signer.VLEK, product, level, asvk, at, chip_id=chip)
        return cls(product, chip, level, ark, ask, asvk, vcek, vlek)

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> SnpEmulator:
        """Read what the store wrote."""
        parts = (authorities.load(values[name]) for name in ("ark", "ask", "asvk", "vcek", "vlek"))
        return cls(Product(values["product"]), bytes.fromhex(values["chip_id"]), Tcb(**values["tcb"]), *parts)

    def evidence(self, boot: Boot, at: datetime, report_data: bytes, workload: bytes) -> Evidence:  # noqa: ARG002
        """Make a report, with its certificates, and what a policy says of it; ``workload`` is HOST_DATA."""
        measurement = boot.snp()
        return Evidence(
            self.report(report_data, boot, SnpState(host_data=workload)),
            {"certificates.pem": self.certificates()},
            measurement,
            (
                f'products = ["{self.product}"]',
                listed("measurements", measurement),
                listed("host-data", workload),
            ),
        )

    def certificates(self, signer: Signer = Signer.VCEK) -> bytes:
        """Return the chain in PEM, the signing key's certificate first."""
        if signer is Signer.VLEK:
            return self.vlek.pem() + self.asvk.pem() + self.ark.pem()
        return self.vcek.pem() + self.ask.pem() + self.ark.pem()

    def report(
        self,
        report_data: bytes,
        boot: Boot,
        state: SnpState | None = None,
        *,
        signer: Signer = Signer.VCEK,
        measurement: bytes | None = None,
    ) -> bytes:
        """Sign a report.

        Args:
            report_data: the 64 bytes that the guest chooses.
            boot: what the guest booted.
            state: what else the report states.
            signer: whose key signs it.
            measurement: instead of that of ``boot``.
        """
        body = encode(
            self, report_data, boot.snp() if measurement is None else measurement, state or SnpState(), signer
        )
        own = self.vcek if signer is Signer.VCEK else self.vlek
        return sign(body, own.signing_key)


def sign(body: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Put the signature behind the signed part of a report."""
    r, s = decode_dss_signature(key.sign(body[:SIGNED], ec.ECDSA(hashes.SHA384())))
    return (body[:SIGNED] + r.to_bytes(72, "little") + s.to_bytes(72, "little")).ljust(SIZE, b"\0")


def encode_tcb(tcb: Tcb, product: Product) -> bytes:
    """Write a TCB version."""
    if product is Product.TURIN:
        return bytes((tcb.fmc or 0, tcb.bootloader, tcb.tee, tcb.snp, 0, 0, 0, tcb.microcode))
    return bytes((tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode))


def encode(platform: SnpEmulator, report_data: bytes, measurement: bytes, state: SnpState, signer: Signer) -> bytes:
    """Write the signed part of a report."""
    product = platform.product
    reported, committed, current, launch = (
        encode_tcb(tcb or platform.tcb, product)
        for tcb in (state.reported_tcb, state.committed_tcb, state.current_tcb, state.launch_tcb)
    )
    # Bits 2 to 4 name the signer.
    key_info = state.key_info if state.key_info is not None else (1 if signer is Signer.VLEK else 0) << 2
    chip = platform.chip_id if state.chip_id is None else state.chip_id
    body = bytearray(SIGNED)
    struct.pack_into("<IIQ", body, 0, state.version, state.guest_svn, state.policy)
    struct.pack_into(
        "<16s16sII8s", body, 0x10, state.family_id, state.image_id, state.vmpl, state.signature_algorithm, current
    )
    struct.pack_into("<QI", body, 0x40, state.platform_info, key_info)
    struct.pack_into(
        "<64s48s32s48s48s32s32s8s",
        body,
        0x50,
        report_data,
        measurement,
        state.host_data,
        state.id_key_digest,
        state.author_key_digest,
        state.report_id,
        state.report_id_ma,
        reported,
    )
    if state.version >= 3:
        struct.pack_into("<BBB", body, 0x188, *(state.cpuid or _CPUID[product]))
    struct.pack_into("<64s8s", body, 0x1A0, chip, committed)
    # Firmware 1.58, build 1: current, then committed.
    struct.pack_into("<BBBxBBBx8s", body, 0x1E8, 1, 58, 1, 1, 58, 1, launch)
    if state.version >= 5:
        struct.pack_into("<QQ", body, 0x1F8, state.mitigations, state.mitigations)
    return bytes(body)


def endorse(
    signer: Signer,
    product: Product,
    tcb: Tcb,
    issuer: Authority,
    at: datetime,
    *,
    chip_id: bytes,
    changed: dict[str, bytes | None] | None = None,
    name: str | None = None,
) -> Authority:
    """Issue the certificate of a signing key.

    Args:
        signer: a VCEK, of a chip, or a VLEK, of a cloud provider.
        product: the product line.
        tcb: the TCB that the key is for.
        issuer: ASK or ASVK.
        at: when it is issued.
        chip_id: the chip, for a VCEK.
        changed: extensions to replace, or to leave out where None.
        name: another common name.
    """
    found: dict[str, bytes | None] = {
        oid.STRUCT_VERSION: der.integer(0),
        oid.PRODUCT_NAME: der.text(f"{product}-B0" if signer is Signer.VCEK else str(product)),
        oid.BOOTLOADER: der.integer(tcb.bootloader),
        oid.TEE: der.integer(tcb.tee),
        oid.SNP: der.integer(tcb.snp),
        oid.MICROCODE: der.integer(tcb.microcode),
    }
    if tcb.fmc is not None:
        found[oid.FMC] = der.integer(tcb.fmc)
    if signer is Signer.VCEK:
        found[oid.HARDWARE_ID] = chip_id[:8] if product is Product.TURIN else chip_id
    else:
        found[oid.CSP_ID] = der.text(CSP)
    found |= changed or {}
    return authorities.issue(
        name or oid.COMMON_NAMES[signer],
        authorities.p384_key(),
        at,
        issuer=issuer,
        extensions={one: value for one, value in found.items() if value is not None},
    )
