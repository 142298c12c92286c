"""An emulated Arm platform: a maker's root, the platform's key (CPAK), and tokens of its realms."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from haulout.emulator import authorities
from haulout.tee import EMULATED, ES384, Profile
from haulout.tee.cca import token

if TYPE_CHECKING:
    from datetime import datetime

    from haulout.emulator.authorities import Authority
    from haulout.emulator.boot import Boot

SECURED: Final = 0x3000


@dataclass(frozen=True, slots=True)
class CcaState:
    """What a token tells besides what is measured and asked for.

    Attributes:
        platform, realm: claims to replace, or to leave out where None.
        algorithm: what to tell as algorithm.
    """

    profile: Profile = Profile.PLATFORM_1
    personalization: bytes = bytes(64)
    platform: dict[int, Any] = field(default_factory=dict)
    realm: dict[int, Any] = field(default_factory=dict)
    algorithm: int = ES384


@dataclass(frozen=True, slots=True)
class CcaEmulator:
    """An emulated platform, with its maker above it."""

    root: Authority = field(repr=False)
    cpak: Authority = field(repr=False)
    instance: bytes

    @classmethod
    def make(cls, at: datetime) -> CcaEmulator:
        """Make a platform, with keys of its own."""
        root = authorities.issue("Haulout CPAK Root", authorities.p384_key(), at, authority=True, path_length=0)
        cpak = authorities.issue("Haulout CPAK", authorities.p384_key(), at, issuer=root)
        return cls(root, cpak, b"\x01" + os.urandom(32))

    def certificates(self) -> bytes:
        """Return the chain in PEM, the platform key's certificate first."""
        return self.cpak.pem() + self.root.pem()

    def token(
        self,
        challenge: bytes,
        boot: Boot,
        state: CcaState | None = None,
        *,
        realm_key: ec.EllipticCurvePrivateKey | None = None,
        signing_key: ec.EllipticCurvePrivateKey | None = None,
    ) -> bytes:
        """Sign a token.

        Args:
            challenge: the 64 bytes that the realm chooses.
            boot: what the realm booted.
            state: what else the token tells.
            realm_key: the realm's key; None: a new one.
            signing_key: another key to sign the realm's token with.
        """
        told = state or CcaState()
        profile = told.profile
        key = realm_key or authorities.p384_key()
        told_key = encode_key(key, legacy=profile is Profile.LEGACY)
        realm_claims: dict[int, Any] = {
            token.NONCE: challenge,
            token.PERSONALIZATION: told.personalization,
            token.REALM_KEY: told_key,
            token.REALM_HASH: "sha-512",
            token.REALM_KEY_HASH: "sha-256",
            token.RIM: boot.rim(),
            token.REM: [bytes(64)] * 4,
        }
        if profile is Profile.PLATFORM_1:
            realm_claims |= {token.PROFILE: "tag:arm.com,2023:realm#1.0.0"}
        platform_claims: dict[int, Any] = {
            token.PROFILE: str(profile),
            token.NONCE: hashlib.sha256(told_key).digest(),
            token.IMPLEMENTATION: EMULATED,
            token.INSTANCE: self.instance,
            token.CONFIGURATION: bytes(4),
            token.LIFECYCLE: SECURED,
            token.PLATFORM_HASH: "sha-256",
            token.COMPONENTS: [
                {
                    1: "RMM",
                    2: hashlib.sha256(b"haulout emulator: monitor").digest(),
                    5: hashlib.sha256(b"haulout emulator").digest(),
                    6: "sha-256",
                }
            ],
        }
        parts = {
            token.PLATFORM: sign(platform_claims | told.platform, self.cpak.signing_key, told.algorithm),
            token.REALM: sign(realm_claims | told.realm, signing_key or key, told.algorithm),
        }
        return cbor2.dumps(cbor2.CBORTag(token.TOKEN, parts))


def sign(claims: dict[int, Any], key: ec.EllipticCurvePrivateKey, algorithm: int = ES384) -> bytes:
    """Sign claims: a COSE_Sign1. A claim that is None is left out."""
    protected = cbor2.dumps({1: algorithm})
    payload = cbor2.dumps({name: value for name, value in claims.items() if value is not None})
    r, s = decode_dss_signature(key.sign(token.to_verify(protected, payload), ec.ECDSA(hashes.SHA384())))
    signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
    return cbor2.dumps(cbor2.CBORTag(token.COSE_SIGN1, [protected, {}, payload, signature]))


def encode_key(key: ec.EllipticCurvePrivateKey, *, legacy: bool) -> bytes:
    """Write a realm's public key: a bare point in the legacy edition, else a COSE_Key."""
    point = key.public_key().public_numbers()
    x, y = point.x.to_bytes(48, "big"), point.y.to_bytes(48, "big")
    return b"\x04" + x + y if legacy else cbor2.dumps({1: 2, -1: 2, -2: x, -3: y})
