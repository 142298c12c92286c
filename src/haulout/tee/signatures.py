"""ECDSA signatures as evidence carries them: two numbers, which have to lie between 0 and the order of their curve."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from haulout.tee.verdict import Refused, Rule

P256: Final = "secp256r1"
P384: Final = "secp384r1"
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)
P521: Final = "secp521r1"
P521_ORDER: Final = (1 << 521) - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7
"""Points of the curves. Source: FIPS 186-4, appendix D."""
ORDERS: Final = {P256: P256_ORDER, P384: P384_ORDER, P521: P521_ORDER}
HASHES: Final[dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]]] = {
    P256: hashes.SHA256,
    P384: hashes.SHA384,
    P521: hashes.SHA512,
}
"""The one hash accepted with each curve."""


def require_numbers(numbers: tuple[int, ...], order: int, whose: str = "its signature") -> None:
    """Refuse the numbers of a signature that no signer makes."""
    if not all(0 < number < order for number in numbers):
        raise Refused(Rule.SIGNATURE_ENCODING, f"a number in {whose} is zero or too large")


def big_endian(signature: bytes) -> tuple[int, int]:
    """Return the two numbers of a signature that is their bytes, of equal length, big-endian."""
    half = len(signature) // 2
    return int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")


def is_on(key: object, curve: str) -> bool:
    """Return whether a public key is of a curve."""
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == curve


def is_signed(key: ec.EllipticCurvePublicKey, numbers: tuple[int, int], signed: bytes) -> bool:
    """Return whether ``numbers`` are the signature of ``key``, with the hash that goes with its curve."""
    try:
        key.verify(encode_dss_signature(*numbers), signed, ec.ECDSA(HASHES[key.curve.name]()))
    except InvalidSignature:
        return False
    return True
