"""Credentials that one TPM alone can activate: how an attestation key is shown to live beside an endorsement key.

A secret is encrypted to the endorsement key (EK) together with the name of the attestation key (AK). The TPM decrypts
it only if it has both: ``TPM2_ActivateCredential``.

Source: TCG, TPM 2.0 Library, Part 1, sections 11.4.10 (KDFs), 24 (credentials), annexes B.10.3 and C.6.3; sizes by key:
EK Credential Profile 2.5, annex B.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from haulout.errors import InvalidEvidence
from haulout.tee.tpm.structures import Reader

if TYPE_CHECKING:
    from haulout.tee.tpm.structures import PublicKey

SEED: Final = 64
SECRET: Final = 32
"""Bytes of a secret: what the smallest hash in use allows."""
_IDENTITY: Final = b"IDENTITY\0"
_SHORT: Final = ("sha256", 16)
"""Hash of an endorsement key's name, bytes of the AES key that its credentials are encrypted with."""
_LONG: Final = ("sha384", 32)
_LONGEST: Final = ("sha512", 32)
_RSA: Final = {2048: _SHORT, 3072: _LONG, 4096: _LONG}
_CURVES: Final = {"secp256r1": _SHORT, "secp384r1": _LONG, "secp521r1": _LONGEST}
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}


@dataclass(frozen=True, slots=True)
class Credential:
    """What a TPM activates.

    Attributes:
        blob: TPMS_ID_OBJECT: integrity and encrypted secret.
        seed: TPM2B_ENCRYPTED_SECRET without its size: what the blob's keys are derived from, encrypted to the EK.
    """

    blob: bytes = field(repr=False)
    seed: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return both as parameters of the command: TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET."""
        return _sized(self.blob) + _sized(self.seed)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            InvalidEvidence: it is not that.
        """
        reader = Reader(data, "credential")
        found = cls(reader.sized(512), reader.sized(512))
        reader.end()
        return found


def make_credential(ek: PublicKey, name: bytes, secret: bytes, seed: bytes) -> Credential:
    """Encrypt a secret to the TPM that has an endorsement key, if it has an attestation key as well.

    Args:
        ek: the endorsement key; its certificate has to be verified by the caller.
        name: of the attestation key.
        secret: at most 32 bytes, random.
        seed: 64 fresh random bytes.

    Raises:
        InvalidEvidence: the key is of a size or on a curve that no endorsement key has.
        ValueError: the secret is empty or too long, or the seed too short.
    """
    if not 0 < len(secret) <= SECRET or len(seed) < SEED:
        raise ValueError("a secret has 1 to 32 bytes, a seed 64")
    if isinstance(ek, rsa.RSAPublicKey):
        algorithm, size = _sizes(_RSA.get(ek.key_size))
        seed = seed[: hashlib.new(algorithm).digest_size]
        encrypted = ek.encrypt(seed, padding.OAEP(padding.MGF1(_HASHES[algorithm]), _HASHES[algorithm], _IDENTITY))
    else:
        algorithm, size = _sizes(_CURVES.get(ek.curve.name))
        seed, encrypted = _seed_curve(ek, algorithm)
    bits = 8 * hashlib.new(algorithm).digest_size
    identity = _cfb(_kdfa(algorithm, seed, b"STORAGE", name, 8 * size), _sized(secret))
    key = _kdfa(algorithm, seed, b"INTEGRITY", b"", bits)
    return Credential(_sized(hmac.digest(key, identity + name, algorithm)) + identity, encrypted)


def _sizes(found: tuple[str, int] | None) -> tuple[str, int]:
    if found is None:
        raise InvalidEvidence("endorsement key", "no profile of endorsement keys has this size or curve")
    return found


def _seed_curve(ek: ec.EllipticCurvePublicKey, algorithm: str) -> tuple[bytes, bytes]:
    own = ec.generate_private_key(ek.curve)
    size = (ek.curve.key_size + 7) // 8
    numbers, theirs = own.public_key().public_numbers(), ek.public_numbers()
    x, y, party = (one.to_bytes(size, "big") for one in (numbers.x, numbers.y, theirs.x))
    shared = own.exchange(ec.ECDH(), ek)
    # KDFe: one round gives as many bits as the hash has, which is what a seed needs.
    seed = hashlib.new(algorithm, (1).to_bytes(4, "big") + shared + _IDENTITY + x + party).digest()
    return seed, _sized(x) + _sized(y)


def _kdfa(algorithm: str, key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """Derive a key no longer than the hash: SP 800-108 in counter mode with one round."""
    message = (1).to_bytes(4, "big") + label + b"\0" + context + bits.to_bytes(4, "big")
    return hmac.digest(key, message, algorithm)[: bits // 8]


def _cfb(key: bytes, data: bytes) -> bytes:
    """Encrypt by AES in CFB mode, beginning with zeros: each block is one of CTR mode that begins with the last."""
    last, found = bytes(16), b""
    for at in range(0, len(data), 16):
        last = Cipher(algorithms.AES(key), modes.CTR(last)).encryptor().update(data[at : at + 16])
        found += last
    return found


def _sized(data: bytes) -> bytes:
    """Return a TPM2B."""
    return len(data).to_bytes(2, "big") + data
