"""Revocation lists: certificates that their issuers revoked."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from haulout.errors import InvalidEvidence
from haulout.tee.certificates import (
    BROKEN,
    first_line,
    quietly,
    read_certificate,
    require_whole_signature,
)
from haulout.tee.chains import verifies
from haulout.tee.verdict import Refused, Rule, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from haulout.tee.certificates import Certificate


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
        Refused: its signature is not a whole number of bytes.
    """
    try:
        with quietly():
            parsed = x509.load_pem_x509_crl(data) if data.startswith(b"-----BEGIN") else x509.load_der_x509_crl(data)
            der = parsed.public_bytes(serialization.Encoding.DER)
            require_whole_signature(der, "revocation list")
            return RevocationList(
                der=der,
                issuer=parsed.issuer,
                this_update=parsed.last_update_utc,
                next_update=parsed.next_update_utc,
                revoked=frozenset(one.serial_number for one in parsed),
                parsed=parsed,
            )
    except BROKEN as exc:
        raise InvalidEvidence(what, f"it is not a revocation list ({first_line(exc)})") from exc


def require_not_revoked(chain: Sequence[Certificate], lists: Sequence[RevocationList], at: datetime) -> frozenset[int]:
    """Refuse a chain of which a certificate was revoked.

    Returns:
        the places in the chain (0 is the leaf) that some list covers.

    Raises:
        Refused: one was revoked, or a list that covers the chain is forged, or not valid at that time.
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
        raise Refused(Rule.COLLATERAL, f"the revocation list of {name!r} is not signed by it")
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
    # The parameters of RSASSA-PSS cannot be read from lists; the only ones accepted are fixed anyway.
    parameters: object = (
        ec.ECDSA(hashes.SHA256())
        if isinstance(key, ec.EllipticCurvePublicKey)
        else padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    )
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and not parsed.is_signature_valid(key):
            return False
        return verifies(key, parsed.signature, parsed.tbs_certlist_bytes, parsed.signature_hash_algorithm, parameters)
    except BROKEN:
        return False
