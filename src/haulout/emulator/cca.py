"""An emulated Arm platform: a maker's root, the platform's key (CPAK), and tokens of its realms."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from haulout.emulator import authorities
from haulout.emulator.bundle import Evidence, listed
from haulout.tee.cca import keys
from haulout.tee.cca import parse as token

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from haulout.emulator.authorities import Authority
    from haulout.emulator.boot import Boot

SECURED: Final = 0x3000
_REALMS: Final = {
    token.Profile.PLATFORM_1: token.RealmProfile.REALM_1,
    token.Profile.PLATFORM_2: token.RealmProfile.REALM_2,
}


@dataclass(frozen=True, slots=True)
class CcaState:
    """What a token says, besides measurement and report data.

    Attributes:
        platform, realm: claims to replace, or to leave out where None.
        algorithm: the signature algorithm that it names; None: that of the key.
    """

    profile: token.Profile = token.Profile.PLATFORM_1
    personalization: bytes = bytes(64)
    platform: dict[int, Any] = field(default_factory=dict)
    realm: dict[int, Any] = field(default_factory=dict)
    algorithm: int | None = None


@dataclass(frozen=True, slots=True)
class CcaEmulator:
    """An emulated platform, with its maker above it."""

    root: Authority = field(repr=False)
    cpak: Authority = field(repr=False)
    instance: bytes

    kind: ClassVar = "cca"
    binding: ClassVar = 64

    @classmethod
    def make(cls, at: datetime) -> CcaEmulator:
        """Make a platform, with keys of its own."""
        root = authorities.issue("Haulout CPAK Root", authorities.p384_key(), at, authority=True, path_length=0)
        cpak = authorities.issue("Haulout CPAK", authorities.p384_key(), at, issuer=root)
        return cls(root, cpak, b"\x01" + os.urandom(32))

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> CcaEmulator:
        """Read what the store wrote."""
        root, cpak = (authorities.load(values[name]) for name in ("root", "cpak"))
        return cls(root, cpak, bytes.fromhex(values["instance"]))

    def evidence(self, boot: Boot, at: datetime, report_data: bytes, workload: bytes) -> Evidence:  # noqa: ARG002
        """Make a token, with its certificates, and what a policy says of it; ``workload`` is the personalization."""
        measurement = boot.rim()
        return Evidence(
            self.token(report_data, boot, CcaState(personalization=workload)),
            {"certificates.pem": self.certificates()},
            measurement,
            (listed("rim", measurement), listed("personalization", workload)),
        )

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
            state: what else the token says.
            realm_key: the realm's key; None: a new one.
            signing_key: another key to sign the realm's token with.
        """
        given = state or CcaState()
        profile = given.profile
        key = realm_key or authorities.p384_key()
        public_key = encode_key(key, bare=profile not in _REALMS)
        realm_claims: dict[int, Any] = {
            token.NONCE: challenge,
            token.PERSONALIZATION: given.personalization,
            token.REALM_KEY: public_key,
            token.REALM_HASH: "sha-512",
            token.REALM_KEY_HASH: "sha-256",
            token.RIM: boot.rim(),
            token.REM: [bytes(64)] * 4,
        }
        if profile in _REALMS:
            realm_claims |= {token.PROFILE: str(_REALMS[profile])}
        platform_claims: dict[int, Any] = {
            token.PROFILE: str(profile),
            token.NONCE: hashlib.sha256(public_key).digest(),
            token.IMPLEMENTATION: token.EMULATED,
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
            token.PLATFORM: sign(platform_claims | given.platform, self.cpak.signing_key, given.algorithm),
            token.REALM: sign(realm_claims | given.realm, signing_key or key, given.algorithm),
        }
        return cbor2.dumps(cbor2.CBORTag(token.TOKEN, parts))


def sign(claims: dict[int, Any], key: ec.EllipticCurvePrivateKey, algorithm: int | None = None) -> bytes:
    """Sign claims: a COSE_Sign1. A claim that is None is left out."""
    curve = keys.CURVES[key.curve.name]
    protected = cbor2.dumps({1: curve.algorithms[0] if algorithm is None else algorithm})
    payload = cbor2.dumps({name: value for name, value in claims.items() if value is not None})
    signed = token.to_verify(protected, payload)
    numbers = decode_dss_signature(key.sign(signed, ec.ECDSA(curve.hash)))
    signature = b"".join(number.to_bytes(curve.size, "big") for number in numbers)
    return cbor2.dumps(cbor2.CBORTag(token.COSE_SIGN1, [protected, {}, payload, signature]))


def encode_key(key: ec.EllipticCurvePrivateKey, *, bare: bool) -> bytes:
    """Write a realm's public key: a bare point in the first edition, else a COSE_Key."""
    curve = keys.CURVES[key.curve.name]
    point = key.public_key().public_numbers()
    x, y = point.x.to_bytes(curve.size, "big"), point.y.to_bytes(curve.size, "big")
    return b"\x04" + x + y if bare else cbor2.dumps({1: 2, -1: curve.number, -2: x, -3: y})
