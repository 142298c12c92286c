"""Keys that sign lists of images: pinned in a policy. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from haulout.errors import UsageError
from haulout.workload.binding import broker_key

if TYPE_CHECKING:
    from haulout.local import Table

_HASHES: Final[dict[int, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]]] = {
    256: hashes.SHA256,
    384: hashes.SHA384,
    521: hashes.SHA512,
}
"""By the size of the curve, as ES256, ES384 and ES512 of RFC 7518 have it."""
_HINT: Final = "give a public key in PEM: Ed25519, or ECDSA on P-256, P-384 or P-521"


def read_key(table: Table, text: object) -> bytes:
    """Read a public key in PEM, or a JSON Web Key; return SubjectPublicKeyInfo in DER.

    Raises:
        Exception: as the table makes it: it is no such key.
    """
    try:
        der = broker_key(str(text).encode("utf-8", "replace"), "keys")
    except UsageError as exc:
        raise table.wrong("keys", str(exc), hint=_HINT) from exc
    if not isinstance(serialization.load_der_public_key(der), ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
        raise table.wrong("keys", "holds a key of another kind", hint=_HINT)
    return der


def is_signed_by(key: bytes, signature: bytes, signed: bytes) -> bool:
    """Return whether a key, SubjectPublicKeyInfo in DER, made a signature (ECDSA: DER, as in RFC 3279)."""
    found = serialization.load_der_public_key(key)
    try:
        if isinstance(found, ed25519.Ed25519PublicKey):
            found.verify(signature, signed)
        elif isinstance(found, ec.EllipticCurvePublicKey) and found.curve.key_size in _HASHES:
            found.verify(signature, signed, ec.ECDSA(_HASHES[found.curve.key_size]()))
        else:
            return False
    except InvalidSignature:
        return False
    return True
