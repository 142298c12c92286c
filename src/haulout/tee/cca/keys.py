"""Keys of CCA: the platform's (CPAK), for which somebody has to vouch, and the realm's (RAK), for which it does."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from haulout.errors import InvalidEvidence, InvalidManifest
from haulout.oci import loads
from haulout.tee.cca import cbor
from haulout.tee.curves import P384_ORDER
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.tee.cca.token import Signed

ES384: Final = -35
_POINT: Final = 97
_COSE_KEY_P384: Final = {1: 2, -1: 2}
"""Members that the COSE_Key of a P-384 key has besides its coordinates: type EC2, curve P-384."""


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """A key that is said to be a platform's.

    Attributes:
        fingerprint: SHA-256 of its SubjectPublicKeyInfo in DER, 64 hexadecimal digits.
    """

    key: ec.EllipticCurvePublicKey = field(repr=False)
    fingerprint: str


def platform_key(key: object, what: str) -> PlatformKey:
    """Take a public key for a platform's.

    Raises:
        InvalidEvidence: it is not one of P-384.
    """
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
        raise InvalidEvidence(what, "it is no key of P-384")
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PlatformKey(key, hashlib.sha256(encoded).hexdigest())


def is_key(data: bytes) -> bool:
    """Return whether a file is a bare key rather than certificates."""
    return data.lstrip(b" \t\r\n")[:1] == b"{" or b"-----BEGIN PUBLIC KEY-----" in data[:1024]


def read(data: bytes, what: str) -> PlatformKey:
    """Read a bare public key: a JSON Web Key, or PEM.

    Raises:
        InvalidEvidence: it is neither, or no key of P-384.
    """
    if not data.lstrip(b" \t\r\n").startswith(b"{"):
        try:
            return platform_key(serialization.load_pem_public_key(data), what)
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise InvalidEvidence(what, "it is no public key in PEM") from exc
    try:
        values = loads(data, what)
    except InvalidManifest as exc:
        raise InvalidEvidence(what, exc.reason) from exc
    if values.get("kty") != "EC" or values.get("crv") != "P-384":
        raise InvalidEvidence(what, "it is no JSON Web Key of P-384")
    if "d" in values:
        raise InvalidEvidence(what, "it is a private key, which nobody but the platform may have")
    return platform_key(_point(_coordinate(values, "x", what) + _coordinate(values, "y", what), what), what)


def _coordinate(values: dict[str, Any], name: str, what: str) -> bytes:
    text = values.get(name)
    if not isinstance(text, str) or len(text) != 64:
        raise InvalidEvidence(what, f"its {name} is no number of 48 bytes")
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidEvidence(what, f"its {name} is not base64url") from exc


def _point(coordinates: bytes, what: str) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), b"\x04" + coordinates)
    except ValueError as exc:
        raise InvalidEvidence(what, "it is no point of P-384") from exc


def realm_key(raw: bytes, *, legacy: bool) -> ec.EllipticCurvePublicKey:
    """Read the realm's key: a bare point in the legacy edition, else a COSE_Key.

    Raises:
        InvalidEvidence: it is neither.
    """
    what = "realm's key"
    if legacy:
        if len(raw) != _POINT or raw[0] != 4:
            raise InvalidEvidence(what, "it is no uncompressed point of P-384")
        return _point(raw[1:], what)
    value = cbor.loads(raw, what)
    if not isinstance(value, dict) or any(value.get(name) != wanted for name, wanted in _COSE_KEY_P384.items()):
        raise InvalidEvidence(what, "it is no COSE_Key of P-384")
    x, y = value.get(-2), value.get(-3)
    if not (isinstance(x, bytes) and isinstance(y, bytes) and len(x) == len(y) == 48):
        raise InvalidEvidence(what, "its COSE_Key has no two coordinates of 48 bytes")
    return _point(x + y, what)


def require_signed(signed: Signed, key: ec.EllipticCurvePublicKey, who: str) -> None:
    """Refuse a token that a key did not sign.

    Raises:
        Refused: another algorithm than ES384, a malformed signature, or a wrong one.
    """
    if signed.algorithm != ES384:
        raise Refused(
            Rule.SIGNATURE_ALGORITHM, f"its {who} token is signed by algorithm {signed.algorithm}; ES384 is -35"
        )
    if len(signed.signature) != 96:
        raise Refused(Rule.SIGNATURE_ENCODING, f"the signature of its {who} token has {len(signed.signature)} bytes")
    r, s = (int.from_bytes(half, "big") for half in (signed.signature[:48], signed.signature[48:]))
    if not (0 < r < P384_ORDER and 0 < s < P384_ORDER):
        raise Refused(Rule.SIGNATURE_ENCODING, f"a number in the signature of its {who} token is zero or too large")
    try:
        key.verify(encode_dss_signature(r, s), signed.to_verify, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as exc:
        raise Refused(Rule.SIGNATURE, f"its {who} token was not signed by the {who}'s key, or was changed") from exc
