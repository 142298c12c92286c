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
from haulout.tee.signatures import HASHES, ORDERS, P256, P384, P521, big_endian, is_signed, require_numbers
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes

    from haulout.tee.cca.parse import Signed

ES256: Final = -7
ES384: Final = -35
ES512: Final = -36


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve that keys of CCA are on.

    Attributes:
        name: in JSON Web Keys.
        number: in a COSE_Key (RFC 9053, section 7.1).
        size: of a coordinate, and of each number of a signature, in bytes.
        algorithm: the name of the signature algorithm that goes with it.
        algorithms: its numbers: with any curve (RFC 9053), with this one alone (RFC 9864).
    """

    curve: ec.EllipticCurve
    name: str
    number: int
    size: int
    algorithm: str
    algorithms: tuple[int, int]

    @property
    def hash(self) -> hashes.HashAlgorithm:
        """Return the hash that the algorithm uses."""
        return HASHES[self.curve.name]()


CURVES: Final = {
    P256: Curve(ec.SECP256R1(), "P-256", 1, 32, "ES256", (ES256, -9)),
    P384: Curve(ec.SECP384R1(), "P-384", 2, 48, "ES384", (ES384, -51)),
    P521: Curve(ec.SECP521R1(), "P-521", 3, 66, "ES512", (ES512, -52)),
}
"""By their names in ``cryptography``."""
_NAMED: Final = ", ".join(curve.name for curve in CURVES.values())
_KTY, _EC2, _CRV, _X, _Y = 1, 2, -1, -2, -3


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
        InvalidEvidence: it is not one of an elliptic curve that CCA uses.
    """
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise InvalidEvidence(what, f"it is not a key on one of {_NAMED}")
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PlatformKey(key, hashlib.sha256(encoded).hexdigest())


def is_key(data: bytes) -> bool:
    """Return whether a file is a bare key rather than certificates."""
    return data.lstrip(b" \t\r\n")[:1] == b"{" or b"-----BEGIN PUBLIC KEY-----" in data[:1024]


def read(data: bytes, what: str) -> PlatformKey:
    """Read a bare public key: a JSON Web Key, or PEM.

    Raises:
        InvalidEvidence: it is neither, or not a key on a curve that CCA uses.
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
    curve = next((one for one in CURVES.values() if one.name == values.get("crv")), None)
    if values.get("kty") != "EC" or curve is None:
        raise InvalidEvidence(what, f"it is not a JSON Web Key on one of {_NAMED}")
    if "d" in values:
        raise InvalidEvidence(what, "it is a private key; only the public key is needed")
    x, y = (_coordinate(values, name, curve, what) for name in ("x", "y"))
    return platform_key(_point(curve, b"\x04" + x + y, what), what)


def _coordinate(values: dict[str, Any], name: str, curve: Curve, what: str) -> bytes:
    text = values.get(name)
    if not isinstance(text, str) or len(text) != -(-curve.size * 4 // 3):
        raise InvalidEvidence(what, f"its {name} is not a number of {curve.size} bytes")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidEvidence(what, f"its {name} is not base64url") from exc


def _point(curve: Curve, point: bytes, what: str) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve.curve, point)
    except ValueError as exc:
        raise InvalidEvidence(what, f"it is not a point on {curve.name}") from exc


def realm_key(raw: bytes, *, bare: bool) -> ec.EllipticCurvePublicKey:
    """Read the realm's key: a COSE_Key, or where the realm names no profile, also a bare uncompressed point.

    Raises:
        InvalidEvidence: it is neither.
    """
    what = "realm's key"
    if bare and raw[:1] == b"\x04":
        curve = next((one for one in CURVES.values() if len(raw) == 1 + 2 * one.size), None)
        if curve is None:
            raise InvalidEvidence(what, f"it is not an uncompressed point on one of {_NAMED}")
        return _point(curve, raw, what)
    value = cbor.loads(raw, what)
    if not isinstance(value, dict) or value.get(_KTY) != _EC2:
        raise InvalidEvidence(what, "it is not a COSE_Key of an elliptic curve")
    curve = next((one for one in CURVES.values() if one.number == value.get(_CRV)), None)
    if curve is None:
        raise InvalidEvidence(what, f"it is not a COSE_Key on one of {_NAMED}")
    x, y = value.get(_X), value.get(_Y)
    if isinstance(x, bytes) and len(x) == curve.size:
        # Of a compressed point there is the sign of y alone (RFC 9053, section 7.1.1).
        if isinstance(y, bool):
            return _point(curve, bytes([2 + y]) + x, what)
        if isinstance(y, bytes) and len(y) == curve.size:
            return _point(curve, b"\x04" + x + y, what)
    raise InvalidEvidence(what, f"its COSE_Key does not have two coordinates of {curve.size} bytes")


def require_signed(signed: Signed, key: ec.EllipticCurvePublicKey, who: str) -> None:
    """Refuse a token that a key did not sign.

    Raises:
        Refused: another algorithm than the key's, a malformed signature, or a wrong one.
    """
    curve = CURVES[key.curve.name]
    if signed.algorithm not in curve.algorithms:
        raise Refused(
            Rule.SIGNATURE_ALGORITHM,
            f"its {who} token has the signature algorithm {signed.algorithm}, not that of the {who}'s key, "
            f"{curve.algorithm} ({curve.algorithms[0]})",
        )
    if len(signed.signature) != 2 * curve.size:
        raise Refused(Rule.SIGNATURE_ENCODING, f"the signature of its {who} token has {len(signed.signature)} bytes")
    numbers = big_endian(signed.signature)
    require_numbers(numbers, ORDERS[key.curve.name], f"the signature of its {who} token")
    if not is_signed(key, numbers, signed.to_verify):
        raise Refused(Rule.SIGNATURE, f"its {who} token was not signed by the {who}'s key, or was changed")
