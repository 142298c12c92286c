"""What AMD publishes: the certificate of each processor's key, those above it, and revocation lists.

Source: AMD, Versioned Chip Endorsement Key Certificate and KDS Interface Specification (57230), chapter 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from cryptography.x509.oid import NameOID

from haulout.errors import InvalidEvidence
from haulout.tee import certificates as x509
from haulout.tee.chains import chain_of, is_signed_by
from haulout.tee.revocation import read_revocation_list, require_list
from haulout.tee.roots import anchor
from haulout.tee.snp.endorsement import COMMON_NAMES, Signer, read
from haulout.tee.snp.parse import SIGNER_VLEK, Product, SnpReport, Tcb, read_tcb
from haulout.tee.verdict import Refused, Rule, Span

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from haulout.tee.certificates import Certificate

SERVICE: Final = "https://kdsintf.amd.com"


@dataclass(frozen=True, slots=True)
class _Kept:
    """Kept as AMD answers."""

    chain_header: ClassVar = ""

    def kept(self, body: bytes, chain: bytes) -> bytes:  # noqa: ARG002 - the chain is apart
        return body


@dataclass(frozen=True, slots=True)
class Authorities(_Kept):
    """The certificates of ASK, or ASVK, and ARK."""

    product: Product
    signer: Signer

    renewed: ClassVar = False
    above: ClassVar = None

    @property
    def name(self) -> str:
        """Return the path of its file."""
        return f"amd/{self.product}/{self.signer}/chain.pem"

    @property
    def title(self) -> str:
        """Return what it is."""
        return f"AMD's certificates above each {self.signer.upper()} of {self.product}"

    @property
    def address(self) -> str:
        """Return its URL."""
        return f"{SERVICE}/{self.signer}/v1/{self.product}/cert_chain"

    def check(self, data: bytes, above: bytes, at: datetime, trusted: Collection[str], *, test: bool) -> Span:  # noqa: ARG002
        """Verify that both are AMD's."""
        given = x509.read_bundle(data, self.title)
        between = f"SEV-{self.product}" if self.signer is Signer.VCEK else f"SEV-VLEK-{self.product}"
        by_name = {one.common_name: one for one in given}
        if set(by_name) != {between, f"ARK-{self.product}"}:
            raise Refused(Rule.CERTIFICATE_ROLE, f"it holds {', '.join(map(repr, sorted(by_name)[:4]))}")
        issuer, root = by_name[between], by_name[f"ARK-{self.product}"]
        anchor(root, "AMD", product=self.product, trusted=trusted, test=test)
        if not (is_signed_by(issuer, root) and is_signed_by(root, root) and issuer.authority and root.authority):
            raise Refused(Rule.CHAIN, f"the certificate {between!r} is not one of an authority that the root signed")
        for one in (issuer, root):
            x509.require_valid(one, at)
        return Span(max(issuer.not_before, root.not_before), min(issuer.not_after, root.not_after))


@dataclass(frozen=True, slots=True)
class Revocations(_Kept):
    """The revocation list of ARK."""

    product: Product
    signer: Signer

    renewed: ClassVar = True

    @property
    def name(self) -> str:
        """Return the path of its file."""
        return f"amd/{self.product}/{self.signer}/crl.der"

    @property
    def title(self) -> str:
        """Return what it is."""
        return f"AMD's revocation list for {self.signer.upper()}s of {self.product}"

    @property
    def address(self) -> str:
        """Return its URL."""
        return f"{SERVICE}/{self.signer}/v1/{self.product}/crl"

    @property
    def above(self) -> Authorities:
        """Return what it is verified with."""
        return Authorities(self.product, self.signer)

    def check(self, data: bytes, above: bytes, at: datetime, trusted: Collection[str], *, test: bool) -> Span:  # noqa: ARG002
        """Verify that the root signed it."""
        root = next(one for one in x509.read_bundle(above, self.above.title) if one.self_issued)
        listed = read_revocation_list(data, self.title)
        if listed.issuer != root.subject:
            raise Refused(Rule.COLLATERAL, f"it is not the list of {root.common_name!r}")
        require_list(listed, root, at)
        assert listed.next_update is not None
        return Span(listed.this_update, listed.next_update)


@dataclass(frozen=True, slots=True)
class EndorsementKey(_Kept):
    """The certificate of the key that signs reports: of a chip (VCEK) or of a cloud provider (VLEK), at one TCB.

    ``chip`` is empty for a VLEK, which AMD gives to the provider only.
    """

    product: Product
    signer: Signer
    chip: bytes
    tcb: Tcb

    renewed: ClassVar = False

    @property
    def name(self) -> str:
        """Return the path of its file."""
        versions = "-".join(f"{name}{value}" for name, value in self.tcb.parts.items())
        folder = f"amd/{self.product}/{self.signer}"
        return f"{folder}/{self.chip.hex()}/{versions}.der" if self.chip else f"{folder}/{versions}.der"

    @property
    def title(self) -> str:
        """Return what it is."""
        versions = ", ".join(f"{name} {value}" for name, value in self.tcb.parts.items())
        of = f"chip {self.chip.hex()}" if self.chip else "the cloud provider"
        return f"the {self.signer.upper()} certificate of {of} ({self.product}; {versions})"

    @property
    def address(self) -> str:
        """Return its URL."""
        if not self.chip:
            return ""
        tcb = self.tcb
        fmc = "" if tcb.fmc is None else f"fmcSPL={tcb.fmc:02d}&"
        versions = f"blSPL={tcb.bootloader:02d}&teeSPL={tcb.tee:02d}&snpSPL={tcb.snp:02d}&ucodeSPL={tcb.microcode:02d}"
        return f"{SERVICE}/vcek/v1/{self.product}/{self.chip.hex()}?{fmc}{versions}"

    @property
    def above(self) -> Authorities:
        """Return what it is verified with."""
        return Authorities(self.product, self.signer)

    def check(self, data: bytes, above: bytes, at: datetime, trusted: Collection[str], *, test: bool) -> Span:  # noqa: ARG002
        """Verify that AMD signed it, for this chip and TCB."""
        leaf = x509.read_certificate(data)
        if _key(leaf) != self:
            raise Refused(Rule.CHIP, "it is the certificate of another key")
        chain_of(leaf, x509.read_bundle(above, self.above.title), at)
        return Span(leaf.not_before, leaf.not_after)


def needs(
    report: SnpReport,
) -> tuple[tuple[Authorities | EndorsementKey, ...], tuple[Revocations, ...]]:
    """Name the certificates and the list that a report is verified with; none where it does not name its processor."""
    product = None if report.cpuid is None else report.cpuid.product
    if product is None:
        return (), ()
    signer = Signer.VLEK if report.signer == SIGNER_VLEK else Signer.VCEK
    chip = b"" if signer is Signer.VLEK else report.chip_id[: _chip_size(product)]
    key = EndorsementKey(product, signer, chip, read_tcb(report.reported_tcb, product))
    hidden = signer is Signer.VCEK and not any(chip)
    certificates = (Authorities(product, signer), *(() if hidden else (key,)))
    return certificates, (Revocations(product, signer),)


def identify(data: bytes, what: str) -> list[tuple[Authorities | EndorsementKey | Revocations, bytes]]:
    """Say which of AMD's publications a file holds: certificates in PEM or DER, or a revocation list."""
    if data.startswith(b"-----BEGIN X509 CRL") or (not data.startswith(b"-----BEGIN") and not _is_certificate(data)):
        listed = read_revocation_list(data, what)
        product = _product(x509.single(listed.issuer, NameOID.COMMON_NAME), "ARK-")
        return [] if product is None else [(Revocations(product, signer), listed.der) for signer in Signer]
    given = x509.read_bundle(data, what)
    by_name = {one.common_name: one for one in given}
    found: list[tuple[Authorities | EndorsementKey | Revocations, bytes]] = []
    for product in Product:
        for signer, between in ((Signer.VCEK, f"SEV-{product}"), (Signer.VLEK, f"SEV-VLEK-{product}")):
            if between in by_name and f"ARK-{product}" in by_name:
                chain = x509.pem(by_name[between], by_name[f"ARK-{product}"])
                found.append((Authorities(product, signer), chain))
    return found + [(_key(one), one.der) for one in given if one.common_name in COMMON_NAMES.values()]


def _is_certificate(data: bytes) -> bool:
    try:
        x509.read_certificate(data)
    except (InvalidEvidence, Refused):
        return False
    return True


def _key(leaf: Certificate) -> EndorsementKey:
    signer = next((signer for signer, name in COMMON_NAMES.items() if name == leaf.common_name), None)
    if signer is None:
        raise Refused(Rule.CERTIFICATE_ROLE, f"the certificate {leaf.common_name!r} is neither a VCEK's nor a VLEK's")
    said = read(leaf, signer)
    return EndorsementKey(said.product, signer, said.hardware_id or b"", said.tcb)


def _product(name: str, prefix: str) -> Product | None:
    return next((one for one in Product if name == f"{prefix}{one}"), None)


def _chip_size(product: Product) -> int:
    return 8 if product is Product.TURIN else 64
