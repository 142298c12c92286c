"""X.509 certificates, as they are read: ``cryptography`` parses them, nothing about them is verified here.

:mod:`.chains` decides which certificate was issued by which, :mod:`.revocation` which are revoked.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from haulout.errors import InvalidEvidence
from haulout.tee import der as asn1
from haulout.tee.verdict import Refused, Rule, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from haulout.tee.inputs import Given

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

MAX_BUNDLE: Final = 1 << 20
"""Bytes of one file of certificates; AMD's chain has 5 KB."""
MAX_CERTIFICATES: Final = 32
"""Certificates considered at once: chains have three."""

_PEM_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
BROKEN: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What ``cryptography`` raises at bytes that are not a certificate; two of these are plain exceptions."""
_UNDERSTOOD: Final = frozenset({ExtensionOID.KEY_USAGE, ExtensionOID.BASIC_CONSTRAINTS})
_QUIET = threading.Lock()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was read; nothing about it is verified.

    Attributes:
        der: the bytes it was read from.
        fingerprint: their SHA-256, 64 hexadecimal digits.
        extensions: the bytes of those extensions that ``cryptography`` does not know, by their object identifier.
        authority: whether it may sign other certificates.
        path_length: how many authorities may stand below it; None: any number.
        unknown_critical: critical extensions that are not understood here, which forbids its use.
    """

    der: bytes = field(repr=False)
    fingerprint: str
    subject: x509.Name
    issuer: x509.Name
    serial: int
    not_before: datetime
    not_after: datetime
    key: PublicKey = field(repr=False)
    extensions: dict[str, bytes] = field(repr=False)
    authority: bool
    path_length: int | None
    unknown_critical: tuple[str, ...]
    parsed: x509.Certificate = field(repr=False, compare=False)

    @property
    def common_name(self) -> str:
        """Return the subject's common name; "" where there is not exactly one."""
        return single(self.subject, NameOID.COMMON_NAME)

    @property
    def organisation(self) -> str:
        """Return the subject's organisation; "" where there is not exactly one."""
        return single(self.subject, NameOID.ORGANIZATION_NAME)

    @property
    def self_issued(self) -> bool:
        """Return whether subject and issuer are the same."""
        return self.subject == self.issuer


def single(name: x509.Name, kind: x509.ObjectIdentifier) -> str:
    """Return the only value of its kind in a name; "" where there is not exactly one."""
    found = name.get_attributes_for_oid(kind)
    return str(found[0].value) if len(found) == 1 else ""


def read_files(files: Iterable[Given]) -> list[Certificate]:
    """Read all certificates of some files; as :func:`read_bundle`."""
    return [one for file in files for one in read_bundle(file.data, file.name)]


def read_bundle(data: bytes, what: str) -> tuple[Certificate, ...]:
    """Read certificates: one in DER, or any number in PEM.

    Args:
        data: the content of a file.
        what: what it is, for the error.

    Raises:
        InvalidEvidence: it is neither, or too much.
    """
    if len(data) > MAX_BUNDLE:
        raise InvalidEvidence(what, f"it has {len(data)} bytes; a bundle of certificates has at most {MAX_BUNDLE}")
    if _PEM_BEGIN not in data:
        return (_read_in(what, data),)
    if data.count(_PEM_BEGIN) > MAX_CERTIFICATES:
        raise InvalidEvidence(what, f"it has more than {MAX_CERTIFICATES} certificates")
    try:
        with quietly():
            found = x509.load_pem_x509_certificates(data)
    except BROKEN as exc:
        raise InvalidEvidence(what, f"a certificate in it is damaged ({first_line(exc)})") from exc
    return tuple(_read_in(what, one.public_bytes(serialization.Encoding.DER)) for one in found)


def pem(*certificates: Certificate) -> bytes:
    """Write certificates in PEM."""
    return b"".join(one.parsed.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _read_in(what: str, der: bytes) -> Certificate:
    try:
        return read_certificate(der)
    except InvalidEvidence as exc:
        raise InvalidEvidence(what, exc.reason) from exc


@lru_cache(maxsize=256)
def read_certificate(der: bytes) -> Certificate:
    """Read one certificate in DER.

    Raises:
        InvalidEvidence: it is not one.
        Refused: it has an extension twice, or one that contradicts itself.
    """
    try:
        with quietly():
            parsed = x509.load_der_x509_certificate(der)
            serial = parsed.serial_number
            key = parsed.public_key()
            subject, issuer = parsed.subject, parsed.issuer
            not_before, not_after = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    except BROKEN as exc:
        raise InvalidEvidence("certificate", f"it is not an X.509 certificate ({first_line(exc)})") from exc
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise InvalidEvidence("certificate", "its key is neither RSA nor of an elliptic curve")
    try:
        with quietly():
            found = list(parsed.extensions)
    except x509.DuplicateExtension as exc:
        raise Refused(Rule.CERTIFICATE_EXTENSION, f"a certificate has {exc.oid.dotted_string} twice") from exc
    except BROKEN as exc:
        raise Refused(Rule.CERTIFICATE_EXTENSION, "a certificate has an extension that cannot be read") from exc
    require_whole_signature(der, "certificate")
    authority, path_length = _authority(found)
    return Certificate(
        der=der,
        fingerprint=hashlib.sha256(der).hexdigest(),
        subject=subject,
        issuer=issuer,
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        key=key,
        extensions={
            one.oid.dotted_string: one.value.value for one in found if isinstance(one.value, x509.UnrecognizedExtension)
        },
        authority=authority,
        path_length=path_length,
        unknown_critical=tuple(one.oid.dotted_string for one in found if one.critical and one.oid not in _UNDERSTOOD),
        parsed=parsed,
    )


def require_whole_signature(der: bytes, what: str) -> None:
    """Refuse a signature that is not a whole number of bytes: the unsigned part must not have two spellings.

    Args:
        der: a certificate or a revocation list.
        what: which of them, for the error.
    """
    try:
        signature = list(asn1.parse(der).parts())[-1].expect(asn1.BIT_STRING)
    except (asn1.NotDer, IndexError) as exc:
        raise InvalidEvidence(what, "it is not an X.509 object") from exc
    if signature[:1] != b"\0":
        raise Refused(Rule.SIGNATURE_ENCODING, f"the signature of a {what} is not a whole number of bytes")


def _authority(extensions: Sequence[x509.Extension[x509.ExtensionType]]) -> tuple[bool, int | None]:
    constraints = [one.value for one in extensions if isinstance(one.value, x509.BasicConstraints)]
    usage = [one.value for one in extensions if isinstance(one.value, x509.KeyUsage)]
    if not constraints or not constraints[0].ca:
        return False, None
    return not usage or usage[0].key_cert_sign, constraints[0].path_length


def require_valid(certificate: Certificate, at: datetime) -> None:
    """Refuse a certificate that is not valid at a time."""
    name = certificate.common_name
    if at < certificate.not_before:
        raise Refused(
            Rule.CERTIFICATE_VALIDITY, f"the certificate {name!r} is not valid before {stamp(certificate.not_before)}"
        )
    if at > certificate.not_after:
        raise Refused(Rule.CERTIFICATE_VALIDITY, f"the certificate {name!r} expired at {stamp(certificate.not_after)}")


def first_line(error: Exception) -> str:
    """Return the first line of an error of ``cryptography``, as part of a line."""
    text = str(error).split("\n", 1)[0].strip()
    return text[:120] if text.isprintable() else type(error).__name__


@contextmanager
def quietly() -> Iterator[None]:
    """Read without warnings: of the serial number 0, which every VCEK of AMD has, and of names that break a limit.

    ``warnings`` are the process's: a lock keeps two threads from restoring each other's filters.
    """
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def distinct(certificates: Sequence[Certificate]) -> Iterator[Certificate]:
    """Return certificates without those given twice.

    Raises:
        InvalidEvidence: there are more than 32.
    """
    found = {one.fingerprint: one for one in certificates}
    if len(found) > MAX_CERTIFICATES:
        raise InvalidEvidence("certificates", f"more than {MAX_CERTIFICATES} were given")
    yield from found.values()
