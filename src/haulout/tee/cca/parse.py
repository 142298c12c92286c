"""The CCA attestation token: two signed statements, of the realm and of the platform, bound to each other.

Source: Arm, Realm Management Monitor Specification (DEN0137), A7.2; draft-ffm-rats-cca-token; COSE: RFC 9052. Parsing
does not verify; it requires the structure, and that claims have their types.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

import cbor2

from haulout.documents import Document
from haulout.errors import InvalidEvidence
from haulout.tee.cca import cbor

TOKEN: Final = 399
PLATFORM: Final = 44234
REALM: Final = 44241
COSE_SIGN1: Final = 18

NONCE: Final = 10
INSTANCE: Final = 256
PROFILE: Final = 265
LIFECYCLE: Final = 2395
IMPLEMENTATION: Final = 2396
COMPONENTS: Final = 2399
VERIFICATION_SERVICE: Final = 2400
CONFIGURATION: Final = 2401
PLATFORM_HASH: Final = 2402
PERSONALIZATION: Final = 44235
REALM_HASH: Final = 44236
REALM_KEY: Final = 44237
RIM: Final = 44238
REM: Final = 44239
REALM_KEY_HASH: Final = 44240

EMULATED: Final = hashlib.sha256(b"haulout emulator").digest()
"""Implementation that emulated platforms name, so that no pinned key can hide what they are."""

_MARK: Final = bytes.fromhex("d9018f")
"""CBOR's tag 399, which begins a token."""
_WHAT: Final = "CCA token"
_DIGESTS: Final = (32, 48, 64)
_MOST_COMPONENTS: Final = 64


class Profile(StrEnum):
    """Which edition of the platform's token it is."""

    LEGACY = "http://arm.com/CCA-SSD/1.0.0"
    PLATFORM_1 = "tag:arm.com,2023:cca_platform#1.0.0"
    PLATFORM_2 = "tag:arm.com,2024:cca_platform#2.0.0"


class RealmProfile(StrEnum):
    """Which edition of the realm's token it is. The first one has no name; its key is a bare point on a curve."""

    REALM_1 = "tag:arm.com,2023:realm#1.0.0"
    REALM_2 = "tag:arm.com,2024:realm#2.0.0"


SECURED: Final = 0x30
_LIFECYCLES: Final = {
    0x00: "unknown",
    0x10: "assembly and test",
    0x20: "platform provisioning",
    SECURED: "secured",
    0x40: "debug of what is not the platform",
    0x50: "recoverable debug of the platform",
    0x60: "decommissioned",
}
"""States of a platform by the upper byte of its lifecycle (draft-ffm-rats-cca-token, section 4.5.5)."""


@dataclass(frozen=True, slots=True)
class Signed:
    """One COSE_Sign1: its claims, and what its signature covers.

    Attributes:
        algorithm: by its number in the protected header (RFC 9053, RFC 9864).
        to_verify: the bytes that the signature covers.
    """

    algorithm: int
    to_verify: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    claims: dict[Any, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Component:
    """A piece of the platform's firmware."""

    type: str
    measurement: bytes
    signer: bytes
    version: str


@dataclass(frozen=True, slots=True)
class PlatformClaims:
    """What the platform says of itself."""

    profile: str
    nonce: bytes
    instance: bytes
    implementation: bytes
    lifecycle: int
    configuration: bytes
    hash: str
    components: tuple[Component, ...]
    verification_service: str

    @property
    def state(self) -> str:
        """Name the state of its lifecycle."""
        return _LIFECYCLES.get(self.lifecycle >> 8, "undefined")


@dataclass(frozen=True, slots=True)
class RealmClaims:
    """What the monitor says of the realm.

    Attributes:
        key: the bytes of the realm attestation key (RAK) in the token, whose hash is the platform's nonce.
        profile: None in the legacy edition, where realms do not name it.
    """

    profile: str | None
    challenge: bytes
    personalization: bytes
    rim: bytes
    rem: tuple[bytes, bytes, bytes, bytes]
    hash: str
    key: bytes = field(repr=False)
    key_hash: str = ""


@dataclass(frozen=True, slots=True)
class CcaToken(Document):
    """A token as it was parsed; nothing about it is verified."""

    platform: PlatformClaims
    realm: RealmClaims
    platform_signed: Signed = field(repr=False)
    realm_signed: Signed = field(repr=False)

    json_members: ClassVar = (
        "profile=platform.profile",
        "realm_profile=realm.profile",
        "lifecycle=platform.state",
        "instance=platform.instance",
        "implementation=platform.implementation",
        "configuration=platform.configuration",
        "components=platform.components",
        "rim=realm.rim",
        "rem=realm.rem",
        "hash=realm.hash",
        "report_data",
        "personalization=realm.personalization",
    )

    @property
    def report_data(self) -> bytes:
        """Return the 64 bytes that the realm chose."""
        return self.realm.challenge


def recognise(data: bytes) -> bool:
    """Return whether bytes are a token, by their first bytes."""
    return data.startswith(_MARK)


def parse(data: bytes) -> CcaToken:
    """Parse a token.

    Raises:
        InvalidEvidence: it is not one.
    """
    value = cbor.loads(data, _WHAT)
    if not isinstance(value, cbor2.CBORTag) or value.tag != TOKEN or not isinstance(value.value, dict):
        raise InvalidEvidence(_WHAT, f"it is not a map with the tag {TOKEN}")
    parts = value.value
    if parts.keys() != {PLATFORM, REALM}:
        raise InvalidEvidence(_WHAT, "it does not consist of a platform's and a realm's token")
    platform = _signed(parts[PLATFORM], "platform")
    realm = _signed(parts[REALM], "realm")
    return CcaToken(_platform(platform.claims), _realm(realm.claims), platform, realm)


def to_verify(protected: bytes, payload: bytes) -> bytes:
    """Return what the signature of a COSE_Sign1 covers: its Sig_structure, without external data."""
    return cbor2.dumps(["Signature1", protected, b"", payload])


def _signed(data: Any, which: str) -> Signed:
    what = f"{which} token"
    if not isinstance(data, bytes):
        raise InvalidEvidence(what, "it is not a byte string")
    value = cbor.loads(data, what)
    if not isinstance(value, cbor2.CBORTag) or value.tag != COSE_SIGN1 or not isinstance(value.value, list):
        raise InvalidEvidence(what, "it is not a COSE_Sign1")
    if len(value.value) != 4:
        raise InvalidEvidence(what, f"it is a COSE_Sign1 of {len(value.value)} parts, where 4 are expected")
    protected, unprotected, payload, signature = value.value
    if not (isinstance(protected, bytes) and isinstance(payload, bytes) and isinstance(signature, bytes)):
        raise InvalidEvidence(what, "the parts of its COSE_Sign1 are not byte strings")
    # The unprotected header is not signed: it cannot count, and is not ignored either.
    if unprotected != {}:
        raise InvalidEvidence(what, "it has headers that are not signed")
    headers = cbor.loads(protected, f"{what}'s header")
    if not isinstance(headers, dict) or headers.keys() != {1} or type(headers[1]) is not int:
        raise InvalidEvidence(what, "its header does not consist of the algorithm alone")
    claims = cbor.loads(payload, f"{what}'s claims")
    if not isinstance(claims, dict):
        raise InvalidEvidence(what, "its claims are not a map")
    return Signed(headers[1], to_verify(protected, payload), signature, claims)


def _platform(claims: dict[Any, Any]) -> PlatformClaims:
    reader = _Claims("platform token", claims)
    found = PlatformClaims(
        profile=reader.text(PROFILE),
        nonce=reader.octets(NONCE, _DIGESTS),
        instance=reader.octets(INSTANCE, (33,)),
        implementation=reader.octets(IMPLEMENTATION, (32,)),
        lifecycle=reader.number(LIFECYCLE),
        configuration=reader.octets(CONFIGURATION, range(1, 1025)),
        hash=reader.text(PLATFORM_HASH),
        components=reader.components(),
        verification_service=reader.text(VERIFICATION_SERVICE) if VERIFICATION_SERVICE in claims else "",
    )
    if found.instance[0] != 1:
        raise InvalidEvidence("platform token", "its instance is not a random identity (its first byte is not 1)")
    return found


def _realm(claims: dict[Any, Any]) -> RealmClaims:
    reader = _Claims("realm token", claims)
    return RealmClaims(
        profile=reader.text(PROFILE) if PROFILE in claims else None,
        challenge=reader.octets(NONCE, (64,)),
        personalization=reader.octets(PERSONALIZATION, (64,)),
        rim=reader.octets(RIM, _DIGESTS),
        rem=reader.rem(),
        hash=reader.text(REALM_HASH),
        key=reader.octets(REALM_KEY, range(1, 257)),
        key_hash=reader.text(REALM_KEY_HASH),
    )


class _Claims:
    """Claims that have to be there, with their type. Unknown claims are signed as well, and ignored."""

    def __init__(self, what: str, claims: dict[Any, Any]) -> None:
        self._what = what
        self._claims = claims

    def _wrong(self, claim: int, reason: str) -> InvalidEvidence:
        return InvalidEvidence(self._what, f"its claim {claim}: {reason}")

    def octets(self, claim: int, sizes: range | tuple[int, ...]) -> bytes:
        """Read a byte string of one of some sizes."""
        value = self._claims.get(claim)
        if not isinstance(value, bytes) or len(value) not in sizes:
            raise self._wrong(claim, "it is not a byte string of the right size")
        return value

    def text(self, claim: int) -> str:
        """Read a text."""
        value = self._claims.get(claim)
        if not isinstance(value, str) or not value.isprintable() or len(value) > 500:
            raise self._wrong(claim, "it is not text")
        return value

    def number(self, claim: int) -> int:
        """Read a number of 16 bits."""
        value = self._claims.get(claim)
        if type(value) is not int or not 0 <= value <= 0xFFFF:
            raise self._wrong(claim, "it is not a number of 16 bits")
        return value

    def rem(self) -> tuple[bytes, bytes, bytes, bytes]:
        """Read the four extensible measurements."""
        values = self._claims.get(REM)
        if not isinstance(values, list) or len(values) != 4:
            raise self._wrong(REM, "it is not a list of four")
        if not all(isinstance(one, bytes) and len(one) in _DIGESTS for one in values):
            raise self._wrong(REM, "it is not a list of digests")
        return values[0], values[1], values[2], values[3]

    def components(self) -> tuple[Component, ...]:
        """Read the pieces of firmware."""
        values = self._claims.get(COMPONENTS)
        if not isinstance(values, list) or not 0 < len(values) <= _MOST_COMPONENTS:
            raise self._wrong(COMPONENTS, "it is not a list of components")
        return tuple(self._component(one) for one in values)

    def _component(self, value: Any) -> Component:
        if not isinstance(value, dict):
            raise self._wrong(COMPONENTS, "a component is not a map")
        kind, measurement, signer, version = (value.get(key) for key in (1, 2, 5, 4))
        for digest in (measurement, signer):
            if not isinstance(digest, bytes) or len(digest) not in _DIGESTS:
                raise self._wrong(COMPONENTS, "a component has no measurement, or no signer")
        for text in (kind, version):
            if text is not None and (not isinstance(text, str) or len(text) > 200):
                raise self._wrong(COMPONENTS, "a component's type or version is not text")
        assert isinstance(measurement, bytes)
        assert isinstance(signer, bytes)
        return Component(kind or "", measurement, signer, version or "")
