"""The certificate of the key that signs reports: VCEK, of one chip, or VLEK, of one cloud provider.

Source: AMD, Versioned Chip Endorsement Key Certificate and KDS Interface Specification (57230).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from haulout.tee import der
from haulout.tee.snp.parse import Product, Tcb
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.tee.certificates import Certificate

_BASE: Final = "1.3.6.1.4.1.3704.1"
STRUCT_VERSION: Final = f"{_BASE}.1"
PRODUCT_NAME: Final = f"{_BASE}.2"
BOOTLOADER: Final = f"{_BASE}.3.1"
TEE: Final = f"{_BASE}.3.2"
SNP: Final = f"{_BASE}.3.3"
MICROCODE: Final = f"{_BASE}.3.8"
FMC: Final = f"{_BASE}.3.9"
HARDWARE_ID: Final = f"{_BASE}.4"
CSP_ID: Final = f"{_BASE}.5"


class Signer(StrEnum):
    """Whose key signed a report."""

    VCEK = "vcek"
    VLEK = "vlek"


COMMON_NAMES: Final = {Signer.VCEK: "SEV-VCEK", Signer.VLEK: "SEV-VLEK"}


@dataclass(frozen=True, slots=True)
class Endorsement:
    """What AMD says about a signing key.

    Attributes:
        product_name: such as ``Milan-B0``, or ``Genoa`` without a stepping.
        hardware_id: the chip, for a VCEK; 64 bytes, on Turin 8.
        csp_id: the cloud provider, for a VLEK.
    """

    signer: Signer
    product: Product
    product_name: str
    tcb: Tcb
    hardware_id: bytes | None
    csp_id: str | None


def read(certificate: Certificate, signer: Signer) -> Endorsement:
    """Read the extensions of a VCEK's or VLEK's certificate.

    Raises:
        Refused: one is missing or malformed, or belongs to the other type of certificate.
    """
    extensions = certificate.extensions
    foreign = CSP_ID if signer is Signer.VCEK else HARDWARE_ID
    if foreign in extensions:
        raise Refused(
            Rule.CERTIFICATE_ROLE,
            f"its certificate has the extension {foreign}, which belongs to another type",
        )
    name = _value(extensions, PRODUCT_NAME).text
    try:
        product_name = name()
    except der.NotDer as exc:
        raise _malformed(PRODUCT_NAME, exc) from exc
    product = next((one for one in Product if product_name.split("-")[0] == one), None)
    if product is None:
        raise Refused(Rule.PRODUCT, f"its certificate is for {product_name!r}, an unknown product")
    if _number(extensions, STRUCT_VERSION) > 1:
        raise Refused(Rule.CERTIFICATE_EXTENSION, "its certificate has extensions of an unknown version")
    if (FMC in extensions) is not (product is Product.TURIN):
        raise Refused(Rule.CERTIFICATE_EXTENSION, f"a certificate for {product} has, or lacks, the extension {FMC}")
    return Endorsement(
        signer=signer,
        product=product,
        product_name=product_name,
        tcb=Tcb(
            bootloader=_version(extensions, BOOTLOADER),
            tee=_version(extensions, TEE),
            snp=_version(extensions, SNP),
            microcode=_version(extensions, MICROCODE),
            fmc=_version(extensions, FMC) if product is Product.TURIN else None,
        ),
        hardware_id=_hardware_id(extensions, product) if signer is Signer.VCEK else None,
        csp_id=_csp_id(extensions) if signer is Signer.VLEK else None,
    )


def _value(extensions: dict[str, bytes], name: str) -> der.Value:
    if name not in extensions:
        raise Refused(Rule.CERTIFICATE_EXTENSION, f"its certificate lacks the extension {name}")
    try:
        return der.parse(extensions[name])
    except der.NotDer as exc:
        raise _malformed(name, exc) from exc


def _malformed(name: str, error: der.NotDer) -> Refused:
    return Refused(Rule.CERTIFICATE_EXTENSION, f"its certificate's extension {name} is malformed: {error}")


def _number(extensions: dict[str, bytes], name: str) -> int:
    try:
        return _value(extensions, name).integer()
    except der.NotDer as exc:
        raise _malformed(name, exc) from exc


def _version(extensions: dict[str, bytes], name: str) -> int:
    # A DER integer, so that versions from 128 have two bytes, of which the first is zero.
    number = _number(extensions, name)
    if number > 0xFF:
        raise Refused(Rule.CERTIFICATE_EXTENSION, f"its certificate's extension {name} is larger than a byte")
    return number


def _hardware_id(extensions: dict[str, bytes], product: Product) -> bytes:
    raw = extensions.get(HARDWARE_ID)
    if raw is None:
        raise Refused(Rule.CERTIFICATE_EXTENSION, f"its certificate lacks the chip's identity, {HARDWARE_ID}")
    length = 8 if product is Product.TURIN else 64
    if len(raw) == length:
        return raw
    # Newer certificates wrap it as DER demands, older ones have the bare bytes.
    try:
        content = der.parse(raw).expect(der.OCTET_STRING)
    except der.NotDer as exc:
        raise _malformed(HARDWARE_ID, exc) from exc
    if len(content) != length:
        raise Refused(
            Rule.CERTIFICATE_EXTENSION,
            f"its certificate names a chip by {len(content)} bytes, where {product} has {length}",
        )
    return content


def _csp_id(extensions: dict[str, bytes]) -> str:
    try:
        return _value(extensions, CSP_ID).text()
    except der.NotDer as exc:
        raise _malformed(CSP_ID, exc) from exc
