"""Keys of CCA: the platform's (CPAK), which has to be trusted, and the realm's (RAK), which the platform signs."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from haulout.errors import InvalidEvidence, InvalidManifest
from haulout.oci import loads
from haulout.tee.cca import cbor
from haulout.tee.signatures import P384, P384_ORDER, big_endian, is_on, is_signed, require_numbers
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.tee.cca.parse import Signed

ES384: Final = -35
_POINT: Final = 97
_COSE_KEY_P384: Final = {1: 2, -1: 2}
"""Members that the COSE_Key of a P-384 key has besides its coordinates: type EC2, curve P-384."""


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """A public key of a platform, as it was given.

    Attributes:
        fingerprint: SHA-256 of its SubjectPublicKeyInfo in DER, 64 hexadecimal digits.
    """

    key: ec.EllipticCurvePublicKey = field(repr=False)
    fingerprint: str


def platform_key(key: object, what: str) -> PlatformKey:
    """Return a public key as a platform's.

    Raises:
        InvalidEvidence: it is not one of P-384.
    """
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_on(key, P384):
        raise InvalidEvidence(what, "it is not a key on P-384")
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PlatformKey(key, hashlib.sha256(encoded).hexdigest())


def is_key(data: bytes) -> bool:
    """Return whether a file is a bare key rather than certificates."""
    return data.lstrip(b" \t\r\n")[:1] == b"{" or b"-----BEGIN PUBLIC KEY-----" in data[:1024]


def read(data: bytes, what: str) -> PlatformKey:
    """Read a bare public key: a JSON Web Key, or PEM.

    Raises:
        InvalidEvidence: it is neither, or not a key on P-384.
    """
    if not data.lstrip(b" \t\r\n").startswith(b"{"):
        try:
            return platform_key(serialization.load_pem_public_key(data), what)
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise InvalidEvidence(what, "it is not a public key in PEM") from exc
    try:
        values = loads(data, what)
    except InvalidManifest as exc:
        raise InvalidEvidence(what, exc.reason) from exc
    if values.get("kty") != "EC" or values.get("crv") != "P-384":
        raise InvalidEvidence(what, "it is not a JSON Web Key on P-384")
    if "d" in values:
        raise InvalidEvidence(what, "it is a private key; only the public key is needed")
    return platform_key(_point(_coordinate(values, "x", what) + _coordinate(values, "y", what), what), what)


def _coordinate(values: dict[str, Any], name: str, what: str) -> bytes:
    text = values.get(name)
    if not isinstance(text, str) or len(text) != 64:
        raise InvalidEvidence(what, f"its {name} is not a number of 48 bytes")
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidEvidence(what, f"its {name} is not base64url") from exc


def _point(coordinates: bytes, what: str) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), b"\x04" + coordinates)
    except ValueError as exc:
        raise InvalidEvidence(what, "it is not a point on P-384") from exc


def realm_key(raw: bytes, *, legacy: bool) -> ec.EllipticCurvePublicKey:
    """Read the realm's key: a bare point in the legacy edition, else a COSE_Key.

    Raises:
        InvalidEvidence: it is neither.
    """
    what = "realm's key"
    if legacy:
        if len(raw) != _POINT or raw[0] != 4:
            raise InvalidEvidence(what, "it is not an uncompressed point on P-384")
        return _point(raw[1:], what)
    value = cbor.loads(raw, what)
    if not isinstance(value, dict) or any(value.get(name) != wanted for name, wanted in _COSE_KEY_P384.items()):
        raise InvalidEvidence(what, "it is not a COSE_Key on P-384")
    x, y = value.get(-2), value.get(-3)
    if not (isinstance(x, bytes) and isinstance(y, bytes) and len(x) == len(y) == 48):
        raise InvalidEvidence(what, "its COSE_Key does not have two coordinates of 48 bytes")
    return _point(x + y, what)


def require_signed(signed: Signed, key: ec.EllipticCurvePublicKey, who: str) -> None:
    """Refuse a token that a key did not sign.

    Raises:
        Refused: another algorithm than ES384, a malformed signature, or a wrong one.
    """
    if signed.algorithm != ES384:
        raise Refused(
            Rule.SIGNATURE_ALGORITHM,
            f"its {who} token has the signature algorithm {signed.algorithm}, not ES384 (-35)",
        )
    if len(signed.signature) != 96:
        raise Refused(Rule.SIGNATURE_ENCODING, f"the signature of its {who} token has {len(signed.signature)} bytes")
    numbers = big_endian(signed.signature)
    require_numbers(numbers, P384_ORDER, f"the signature of its {who} token")
    if not is_signed(key, numbers, signed.to_verify):
        raise Refused(Rule.SIGNATURE, f"its {who} token was not signed by the {who}'s key, or was changed")
