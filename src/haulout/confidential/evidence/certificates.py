"""X.509 certificates: reading them, following them to a root, and asking revocation lists.

Parsing and signatures are ``cryptography``'s. What is decided here is which certificate may vouch for which, and when.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from dataclasses import dataclass, field
from datetime import UTC
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from haulout.confidential.evidence.verdict import Refused, Rule
from haulout.errors import InvalidEvidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

MAX_BUNDLE: Final = 1 << 20
"""Bytes of one file of certificates; AMD's chain has 5 KB."""
MAX_CERTIFICATES: Final = 32
"""Certificates considered at once: chains have three."""

_PEM_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_BROKEN: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What ``cryptography`` raises at bytes that are no certificate; two of these are plain exceptions."""
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
        unknown_critical: extensions that forbid its use, because nobody here understands them.
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
        return _single(self.subject, NameOID.COMMON_NAME)

    @property
    def organisation(self) -> str:
        """Return the subject's organisation; "" where there is not exactly one."""
        return _single(self.subject, NameOID.ORGANIZATION_NAME)

    @property
    def self_issued(self) -> bool:
        """Return whether subject and issuer are the same."""
        return self.subject == self.issuer


def _single(name: x509.Name, kind: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(kind)
    return str(found[0].value) if len(found) == 1 else ""


def read_bundle(data: bytes, what: str) -> tuple[Certificate, ...]:
    """Read certificates: one in DER, or any number in PEM.

    Args:
        data: the content of a file.
        what: what it is, for the error.

    Raises:
        InvalidEvidence: it is neither, or too much.
    """
    if len(data) > MAX_BUNDLE:
        raise InvalidEvidence(what, f"{len(data)} bytes; a bundle of certificates has at most {MAX_BUNDLE}")
    if _PEM_BEGIN not in data:
        return (_read_in(what, data),)
    if data.count(_PEM_BEGIN) > MAX_CERTIFICATES:
        raise InvalidEvidence(what, f"more than {MAX_CERTIFICATES} certificates")
    try:
        with _quietly():
            found = x509.load_pem_x509_certificates(data)
    except _BROKEN as exc:
        raise InvalidEvidence(what, f"a certificate in it is damaged ({_first_line(exc)})") from exc
    return tuple(_read_in(what, one.public_bytes(serialization.Encoding.DER)) for one in found)


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
        with _quietly():
            parsed = x509.load_der_x509_certificate(der)
            serial = parsed.serial_number
            key = parsed.public_key()
            subject, issuer = parsed.subject, parsed.issuer
            not_before, not_after = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    except _BROKEN as exc:
        raise InvalidEvidence("certificate", f"it is no X.509 certificate ({_first_line(exc)})") from exc
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise InvalidEvidence(
            "certificate", "it is a certificate for a key that is neither RSA nor of an elliptic curve"
        )
    try:
        with _quietly():
            found = list(parsed.extensions)
    except x509.DuplicateExtension as exc:
        raise Refused(Rule.CERTIFICATE_EXTENSION, f"a certificate has {exc.oid.dotted_string} twice") from exc
    except _BROKEN as exc:
        raise Refused(Rule.CERTIFICATE_EXTENSION, "a certificate has an extension that cannot be read") from exc
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


def chain_of(leaf: Certificate, pool: Sequence[Certificate], at: datetime) -> tuple[Certificate, ...]:
    """Follow a certificate to a self-signed one, verifying every signature on the way.

    Args:
        leaf: where it begins.
        pool: certificates that may stand between, in any order.
        at: when all of them have to be valid.

    Returns:
        the chain, ``leaf`` first and the root last. Whether the root is one to trust is not judged here.

    Raises:
        Refused: there is no such chain.
    """
    chain = [leaf]
    while not chain[-1].self_issued:
        child = chain[-1]
        if len(chain) > 4:
            raise Refused(Rule.CHAIN, "its chain of certificates is longer than any vendor's")
        issuers = [one for one in pool if one.subject == child.issuer]
        if not issuers:
            wanted = _single(child.issuer, NameOID.COMMON_NAME)
            raise Refused(
                Rule.CERTIFICATE_MISSING,
                f"the certificate {child.common_name!r} was issued by {wanted!r}, whose certificate was not given",
                hint=f"add it with --cert, and those above it: {child.common_name!r} has to lead to a root",
            )
        signed = [one for one in issuers if is_signed_by(child, one)]
        if not signed:
            raise Refused(
                Rule.CHAIN, f"the certificate {child.common_name!r} was not signed by {issuers[0].common_name!r}"
            )
        chain.append(signed[0])
    if not is_signed_by(chain[-1], chain[-1]):
        raise Refused(Rule.CHAIN, f"the certificate {chain[-1].common_name!r} does not bear its own signature")
    for place, one in enumerate(chain):
        _require_place(one, place)
        require_valid(one, at)
    return tuple(chain)


def _require_place(certificate: Certificate, place: int) -> None:
    name = certificate.common_name
    if certificate.unknown_critical:
        raise Refused(
            Rule.CERTIFICATE_EXTENSION,
            f"the certificate {name!r} has a critical extension that is not known, {certificate.unknown_critical[0]}",
        )
    if place == 0 and certificate.authority:
        raise Refused(
            Rule.CERTIFICATE_ROLE, f"the certificate {name!r} is an authority's, where a signer's is expected"
        )
    if place and not certificate.authority:
        raise Refused(Rule.CERTIFICATE_ROLE, f"the certificate {name!r} must not sign other certificates")
    if place and certificate.path_length is not None and certificate.path_length < place - 1:
        raise Refused(Rule.CERTIFICATE_ROLE, f"the certificate {name!r} must not stand above so many authorities")


def is_signed_by(child: Certificate, issuer: Certificate) -> bool:
    """Return whether a certificate bears the signature of another's key."""
    return _signed(child.der, issuer.der)


@lru_cache(maxsize=1024)
def _signed(child: bytes, issuer: bytes) -> bool:
    # Both were read before: this only finds them again.
    certificate, above = read_certificate(child).parsed, read_certificate(issuer).parsed
    key = read_certificate(issuer).key
    try:
        # Besides the signature, this compares names, and the algorithm told outside of what is signed with that inside.
        certificate.verify_directly_issued_by(above)
        algorithm = certificate.signature_hash_algorithm
        parameters = certificate.signature_algorithm_parameters
    except (*_BROKEN, InvalidSignature):
        return False
    return _verifies(key, certificate.signature, certificate.tbs_certificate_bytes, algorithm, parameters)


def _verifies(key: PublicKey, signature: bytes, signed: bytes, algorithm: object, parameters: object) -> bool:
    """Verify a signature by the two algorithms that vendors use, and no other.

    AMD: RSASSA-PSS with SHA-384 and a salt of 48 bytes, by keys of 4096 bits. Intel: ECDSA on P-256 with SHA-256. For
    emulated and Arm hierarchies, ECDSA on P-384 with SHA-384.
    """
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if key.key_size < 4096 or not isinstance(parameters, padding.PSS):
                return False
            if not isinstance(algorithm, hashes.SHA384):
                return False
            key.verify(signature, signed, padding.PSS(padding.MGF1(hashes.SHA384()), 48), hashes.SHA384())
            return True
        wanted = {"secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384}.get(key.curve.name)
        if wanted is None or not isinstance(algorithm, wanted) or not isinstance(parameters, ec.ECDSA):
            return False
        key.verify(signature, signed, ec.ECDSA(wanted()))
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A certificate revocation list that was read; nothing about it is verified."""

    der: bytes = field(repr=False)
    issuer: x509.Name
    this_update: datetime
    next_update: datetime | None
    revoked: frozenset[int] = field(repr=False)
    parsed: x509.CertificateRevocationList = field(repr=False, compare=False)


@lru_cache(maxsize=32)
def read_revocation_list(data: bytes, what: str) -> RevocationList:
    """Read a revocation list in DER or PEM.

    Raises:
        InvalidEvidence: it is neither.
    """
    try:
        with _quietly():
            parsed = x509.load_pem_x509_crl(data) if data.startswith(b"-----BEGIN") else x509.load_der_x509_crl(data)
            return RevocationList(
                der=parsed.public_bytes(serialization.Encoding.DER),
                issuer=parsed.issuer,
                this_update=parsed.last_update_utc,
                next_update=parsed.next_update_utc,
                revoked=frozenset(one.serial_number for one in parsed),
                parsed=parsed,
            )
    except _BROKEN as exc:
        raise InvalidEvidence(what, f"it is no revocation list ({_first_line(exc)})") from exc


def require_not_revoked(chain: Sequence[Certificate], lists: Sequence[RevocationList], at: datetime) -> frozenset[int]:
    """Refuse a chain of which a certificate was revoked.

    Returns:
        the places in the chain (0 is the leaf) that some list speaks about.

    Raises:
        Refused: one was revoked, or a list that speaks about the chain is forged, or not valid at that time.
    """
    covered: set[int] = set()
    for place, (child, issuer) in enumerate(pairwise(chain)):
        for listed in lists:
            if listed.issuer != issuer.subject:
                continue
            require_list(listed, issuer, at)
            covered.add(place)
            if child.serial in listed.revoked:
                raise Refused(
                    Rule.CERTIFICATE_REVOKED, f"the certificate {child.common_name!r} was revoked by its issuer"
                )
    return frozenset(covered)


def require_list(listed: RevocationList, issuer: Certificate, at: datetime) -> None:
    """Refuse a revocation list that its issuer did not sign, or that is not valid at a time."""
    name = issuer.common_name
    if not _list_signed(listed.der, issuer.der):
        raise Refused(Rule.COLLATERAL, f"the revocation list of {name!r} does not bear its signature")
    if at < listed.this_update:
        raise Refused(
            Rule.COLLATERAL_VALIDITY, f"the revocation list of {name!r} is not valid before {stamp(listed.this_update)}"
        )
    if listed.next_update is None or at > listed.next_update:
        when = "at once" if listed.next_update is None else f"at {stamp(listed.next_update)}"
        raise Refused(Rule.COLLATERAL_VALIDITY, f"the revocation list of {name!r} expired {when}")


@lru_cache(maxsize=64)
def _list_signed(der: bytes, issuer: bytes) -> bool:
    parsed = read_revocation_list(der, "revocation list").parsed
    key = read_certificate(issuer).key
    # Lists do not tell the parameters of RSASSA-PSS; the only ones that are accepted are fixed anyway.
    parameters: object = (
        ec.ECDSA(hashes.SHA256())
        if isinstance(key, ec.EllipticCurvePublicKey)
        else padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    )
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and not parsed.is_signature_valid(key):
            return False
        return _verifies(key, parsed.signature, parsed.tbs_certlist_bytes, parsed.signature_hash_algorithm, parameters)
    except _BROKEN:
        return False


def stamp(when: datetime) -> str:
    """Write a time for people and programs: RFC 3339, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _first_line(error: Exception) -> str:
    text = str(error).split("\n", 1)[0].strip()
    return text[:120] if text.isprintable() else type(error).__name__


class _quietly:  # noqa: N801  (a context manager, used like a function)
    """Read without warnings: of the serial number 0, which every VCEK of AMD has, and of names that break a limit.

    ``warnings`` are the process's: a lock keeps two threads from restoring each other's filters.
    """

    def __enter__(self) -> None:
        _QUIET.acquire()
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        self._caught.__exit__(None, None, None)
        _QUIET.release()


def distinct(certificates: Sequence[Certificate]) -> Iterator[Certificate]:
    """Return certificates without those given twice.

    Raises:
        InvalidEvidence: there are more than anybody needs.
    """
    found = {one.fingerprint: one for one in certificates}
    if len(found) > MAX_CERTIFICATES:
        raise InvalidEvidence("certificates", f"more than {MAX_CERTIFICATES} were given")
    yield from found.values()
