"""Whether a CCA token is genuine: platform's signature, realm's signature, and the one bound to the other."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.tee import certificates as x509
from haulout.tee.cca import keys
from haulout.tee.chains import chain_of
from haulout.tee.policy import Profile
from haulout.tee.roots import Anchor, anchor
from haulout.tee.verdict import Kind, Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from haulout.tee.cca.token import CcaToken

EMULATED: Final = hashlib.sha256(b"haulout emulator").digest()
"""Implementation that emulated platforms name, so that no pinned key can hide what they are."""

GIVEN_KEY: Final = "the key given"
"""Name of the anchor where a bare key was given: nobody but the caller vouches for it."""

_HASHES: Final = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}
_REALM_PROFILES: Final[dict[Profile, tuple[str | None, ...]]] = {
    Profile.LEGACY: (None,),
    Profile.PLATFORM_1: (None, "tag:arm.com,2023:realm#1.0.0"),
}
"""Which profile a realm may tell beside which of the platform."""


@dataclass(frozen=True, slots=True)
class CcaClaims:
    """What a genuine token says.

    Attributes:
        anchor: who vouches for the platform's key.
        platform_key: its fingerprint.
    """

    token: CcaToken
    profile: Profile
    anchor: Anchor
    platform_key: str

    kind = Kind.CCA


def genuine(
    token: CcaToken,
    bare_keys: Sequence[keys.PlatformKey],
    certificates: Sequence[x509.Certificate],
    at: datetime,
    *,
    pinned: Collection[bytes] | None = (),
    trusted: Collection[str] = (),
    test: bool = False,
) -> CcaClaims:
    """Judge whether a token was made by an Arm platform that somebody vouches for.

    Args:
        token: the token.
        bare_keys: platforms' keys without a certificate.
        certificates: of platforms' keys and those above them, in any order.
        at: the time at which certificates have to be valid.
        pinned: fingerprints of the keys that a policy names; None: there is no policy, and a key counts because the
            caller gave it.
        trusted: fingerprints of roots that a policy adds.
        test: whether that policy is marked as one for tests.

    Raises:
        Refused: it is not genuine.
    """
    profile = _profile(token)
    if token.platform.implementation == EMULATED and not test:
        raise Refused(
            Rule.TEST_ROOT,
            "it was made by an emulator: anybody can make such evidence",
            hint="for tests only, a policy with test = true may accept it",
        )
    key, root = _signer(token, bare_keys, certificates, at, pinned=pinned, trusted=trusted, test=test)
    realm = keys.realm_key(token.realm.key, legacy=profile is Profile.LEGACY)
    _require_binding(token)
    keys.require_signed(token.realm_signed, realm, "realm")
    return CcaClaims(token, profile, root, key.fingerprint)


def _profile(token: CcaToken) -> Profile:
    try:
        profile = Profile(token.platform.profile)
    except ValueError as exc:
        raise Refused(Rule.PROFILE, f"its profile {token.platform.profile!r} is not known") from exc
    if token.realm.profile not in _REALM_PROFILES[profile]:
        raise Refused(Rule.PROFILE, f"its realm's profile {token.realm.profile!r} does not go with its platform's")
    return profile


def _signer(
    token: CcaToken,
    bare_keys: Sequence[keys.PlatformKey],
    certificates: Sequence[x509.Certificate],
    at: datetime,
    *,
    pinned: Collection[bytes] | None,
    trusted: Collection[str],
    test: bool,
) -> tuple[keys.PlatformKey, Anchor]:
    """Find the key that signed the platform's token, and who vouches for it."""
    candidates: list[tuple[keys.PlatformKey, x509.Certificate | None]] = [(one, None) for one in bare_keys]
    candidates += [
        (keys.platform_key(one.key, "platform's certificate"), one)
        for one in x509.distinct(certificates)
        if not one.authority
    ]
    if not candidates:
        raise Refused(
            Rule.CERTIFICATE_MISSING,
            "its platform's key was not given",
            hint="add it with --cert, as a certificate or a JSON Web Key, from whoever made or runs the platform",
        )
    failure: Refused | None = None
    for key, certificate in candidates:
        try:
            keys.require_signed(token.platform_signed, key.key, "platform")
        except Refused as exc:
            failure = failure or exc
            continue
        return key, _vouched(key, certificate, certificates, at, pinned=pinned, trusted=trusted, test=test)
    assert failure is not None
    raise failure


def _vouched(
    key: keys.PlatformKey,
    certificate: x509.Certificate | None,
    pool: Sequence[x509.Certificate],
    at: datetime,
    *,
    pinned: Collection[bytes] | None,
    trusted: Collection[str],
    test: bool,
) -> Anchor:
    if pinned is not None and bytes.fromhex(key.fingerprint) in pinned:
        return Anchor("a key that the policy names", "Arm", "", key.fingerprint, test=test)
    if certificate is not None:
        return anchor(chain_of(certificate, pool, at)[-1], "Arm", trusted=trusted, test=test)
    if pinned is None:
        return Anchor(GIVEN_KEY, "Arm", "", key.fingerprint)
    raise Refused(
        Rule.ROOT,
        f"nobody vouches for its platform's key {key.fingerprint}",
        hint="where you know it for the platform's, the policy may name it in platform-keys",
    )


def _require_binding(token: CcaToken) -> None:
    algorithm = _HASHES.get(token.realm.key_hash)
    if algorithm is None:
        raise Refused(Rule.REALM_KEY, f"its realm's key is hashed by {token.realm.key_hash!r}, which is not known")
    if not hmac.compare_digest(algorithm(token.realm.key).digest(), token.platform.nonce):
        raise Refused(Rule.REALM_KEY, "its platform does not vouch for its realm's key")
