"""A broker's public key, from PEM or a JSON Web Key, as the binding holds it: SubjectPublicKeyInfo in DER."""

from __future__ import annotations

import base64
from typing import Any, Final

from haulout.errors import InvalidManifest, UsageError
from haulout.extras import require
from haulout.oci import json

require("cryptography")

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

_CURVES: Final[dict[str, type[ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1]]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
_SMALLEST_RSA: Final = 2048
_HINT: Final = "give a public key or certificate in PEM, or a JSON Web Key: RSA from 2048 bits, P-256 to P-521, Ed25519"


def broker_key(data: bytes, what: str) -> bytes:
    """Read a public key.

    Raises:
        UsageError: it is not a public key, or too weak.
    """
    try:
        key = _from_jwk(json.loads(data, what)) if data.lstrip().startswith(b"{") else _from_pem(data)
    except (ValueError, TypeError, KeyError, InvalidManifest) as exc:
        raise UsageError(f"{what} does not hold a public key in a known format", hint=_HINT) from exc
    if key is None:
        raise UsageError(
            f"{what} holds a private key, which must not be put into an image", hint="give only the public key"
        )
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA
    ):
        raise UsageError(f"the key in {what} is too weak or of an unsupported type", hint=_HINT)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _from_pem(data: bytes) -> Any:
    if b"PRIVATE KEY-----" in data:
        return None
    if b"-----BEGIN CERTIFICATE-----" in data:
        return x509.load_pem_x509_certificate(data).public_key()
    return serialization.load_pem_public_key(data)


def _from_jwk(values: dict[str, Any]) -> Any:
    if "d" in values:
        return None
    match values["kty"]:
        case "RSA":
            return rsa.RSAPublicNumbers(_number(values["e"]), _number(values["n"])).public_key()
        case "EC":
            curve = _CURVES[values["crv"]]()
            return ec.EllipticCurvePublicNumbers(_number(values["x"]), _number(values["y"]), curve).public_key()
        case "OKP" if values["crv"] == "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(values["x"]))
    raise ValueError(values["kty"])


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
