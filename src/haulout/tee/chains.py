"""From a certificate to a root: which one may sign which, with which signature, and when."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from haulout.tee.certificates import BROKEN, read_certificate, require_valid, single
from haulout.tee.signatures import HASHES
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from haulout.tee.certificates import Certificate, PublicKey


def chain_of(
    leaf: Certificate,
    pool: Sequence[Certificate],
    at: datetime,
    *,
    signed: Callable[[Certificate, Certificate], bool] | None = None,
    understood: Collection[str] = (),
) -> tuple[Certificate, ...]:
    """Follow a certificate to a self-signed one, verifying every signature on the way.

    Args:
        leaf: where it begins.
        pool: certificates that may stand between, in any order.
        at: when all of them have to be valid.
        signed: says whether the first certificate is signed by the key of the second; None: :func:`is_signed_by`.
        understood: critical extensions that may occur besides those that are always understood.

    Returns:
        the chain, ``leaf`` first and the root last. Whether the root is one to trust is not judged here.

    Raises:
        Refused: there is no such chain.
    """
    signed = signed or is_signed_by
    chain = [leaf]
    while not chain[-1].self_issued:
        child = chain[-1]
        if len(chain) > 4:
            raise Refused(Rule.CHAIN, "its chain of certificates is longer than any vendor's")
        issuers = [one for one in pool if one.subject == child.issuer]
        if not issuers:
            wanted = single(child.issuer, NameOID.COMMON_NAME)
            raise Refused(
                Rule.CERTIFICATE_MISSING,
                f"the certificate {child.common_name!r} was issued by {wanted!r}, whose certificate was not given",
                hint=f"add it with --cert, and those above it: {child.common_name!r} has to lead to a root",
            )
        signers = [one for one in issuers if signed(child, one)]
        if not signers:
            raise Refused(
                Rule.CHAIN, f"the certificate {child.common_name!r} was not signed by {issuers[0].common_name!r}"
            )
        # An authority that was certified again has two certificates, of which the older may have expired.
        chain.append(next((one for one in signers if one.not_before <= at <= one.not_after), signers[0]))
    if not signed(chain[-1], chain[-1]):
        raise Refused(Rule.CHAIN, f"the certificate {chain[-1].common_name!r} is not signed by its own key")
    for place, one in enumerate(chain):
        _require_place(one, place, understood)
        require_valid(one, at)
    return tuple(chain)


def _require_place(certificate: Certificate, place: int, understood: Collection[str]) -> None:
    name = certificate.common_name
    unknown = [one for one in certificate.unknown_critical if one not in understood]
    if unknown:
        raise Refused(
            Rule.CERTIFICATE_EXTENSION, f"the certificate {name!r} has an unknown critical extension, {unknown[0]}"
        )
    if place == 0 and certificate.authority:
        raise Refused(
            Rule.CERTIFICATE_ROLE, f"the certificate {name!r} is an authority's, where a signer's is expected"
        )
    if place and not certificate.authority:
        raise Refused(Rule.CERTIFICATE_ROLE, f"the certificate {name!r} must not sign other certificates")
    if place and certificate.path_length is not None and certificate.path_length < place - 1:
        raise Refused(Rule.CERTIFICATE_ROLE, f"the certificate {name!r} must not have so many authorities below it")


def is_signed_by(child: Certificate, issuer: Certificate) -> bool:
    """Return whether a certificate is signed by another's key."""
    return _signed(child.der, issuer.der)


@lru_cache(maxsize=1024)
def _signed(child: bytes, issuer: bytes) -> bool:
    # Both were read before: this only finds them again.
    certificate, above = read_certificate(child).parsed, read_certificate(issuer).parsed
    key = read_certificate(issuer).key
    try:
        # Besides the signature, this compares names, and the algorithm named outside the signed part with that inside.
        certificate.verify_directly_issued_by(above)
        algorithm = certificate.signature_hash_algorithm
        parameters = certificate.signature_algorithm_parameters
    except (*BROKEN, InvalidSignature):
        return False
    return verifies(key, certificate.signature, certificate.tbs_certificate_bytes, algorithm, parameters)


def verifies(key: PublicKey, signature: bytes, signed: bytes, algorithm: object, parameters: object) -> bool:
    """Verify a signature by the algorithms that vendors use, and no other.

    AMD: RSASSA-PSS with SHA-384 and a salt of 48 bytes, by keys of 4096 bits. Intel: ECDSA on P-256 with SHA-256. For
    emulated and Arm hierarchies, ECDSA with the hash that goes with the curve.
    """
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if key.key_size < 4096 or not isinstance(parameters, padding.PSS):
                return False
            if not isinstance(algorithm, hashes.SHA384):
                return False
            key.verify(signature, signed, padding.PSS(padding.MGF1(hashes.SHA384()), 48), hashes.SHA384())
            return True
        wanted = HASHES.get(key.curve.name)
        if wanted is None or not isinstance(algorithm, wanted) or not isinstance(parameters, ec.ECDSA):
            return False
        key.verify(signature, signed, ec.ECDSA(wanted()))
    except (InvalidSignature, ValueError):
        return False
    return True
