"""Whether a CCA token is genuine: platform's signature, realm's signature, and the binding of the two."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidEvidence
from haulout.tee import certificates as x509
from haulout.tee.cca import keys
from haulout.tee.cca.parse import EMULATED, CcaToken, Profile, RealmProfile
from haulout.tee.cca.rules import CcaClaims, CcaPolicy
from haulout.tee.chains import chain_of
from haulout.tee.roots import EMULATED as BY_EMULATOR
from haulout.tee.roots import anchor
from haulout.tee.verdict import Anchor, Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.tee.inputs import Inputs

_HASHES: Final = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}


def genuine(token: CcaToken, inputs: Inputs[CcaPolicy]) -> CcaClaims:
    """Verify that a token was made by an Arm platform whose key is trusted.

    Args:
        token: the token.
        inputs: keys of platforms, bare or as certificates with those above them, in any order. A bare key is trusted
            where the policy's section pins it; without a policy, because the caller gave it.

    Raises:
        Refused: it is not genuine.
    """
    if inputs.collateral:
        raise InvalidEvidence(inputs.collateral[0].name, "Arm CCA has no collateral")
    bare_keys = [keys.read(file.data, file.name) for file in inputs.certificates if keys.is_key(file.data)]
    certificates = x509.read_files(file for file in inputs.certificates if not keys.is_key(file.data))
    profile = _profile(token)
    if token.platform.implementation == EMULATED and not inputs.test:
        raise Refused(Rule.TEST_ROOT, BY_EMULATOR, hint="for tests only, a policy with test = true may accept it")
    key, root = _signer(token, bare_keys, certificates, inputs)
    realm = keys.realm_key(token.realm.key, bare=token.realm.profile is None)
    _require_binding(token)
    keys.require_signed(token.realm_signed, realm, "realm")
    return CcaClaims(token, profile, root, key.fingerprint)


def _profile(token: CcaToken) -> Profile:
    try:
        profile = Profile(token.platform.profile)
    except ValueError as exc:
        raise Refused(Rule.PROFILE, f"its profile {token.platform.profile!r} is not known") from exc
    # The firmware of platform and realm is updated separately, so that any edition of one meets any of the other.
    if token.realm.profile not in {None, *RealmProfile}:
        raise Refused(Rule.PROFILE, f"its realm's profile {token.realm.profile!r} is not known")
    return profile


def _signer(
    token: CcaToken,
    bare_keys: Sequence[keys.PlatformKey],
    certificates: Sequence[x509.Certificate],
    inputs: Inputs[CcaPolicy],
) -> tuple[keys.PlatformKey, Anchor]:
    """Find the key that signed the platform's token, and why it is trusted."""
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
            hint="add it with --cert, as a certificate or a JSON Web Key, from the maker or operator of the platform",
        )
    failure: Refused | None = None
    for key, certificate in candidates:
        try:
            keys.require_signed(token.platform_signed, key.key, "platform")
        except Refused as exc:
            failure = failure or exc
            continue
        return key, _anchor(key, certificate, certificates, inputs)
    assert failure is not None
    raise failure


def _anchor(
    key: keys.PlatformKey,
    certificate: x509.Certificate | None,
    pool: Sequence[x509.Certificate],
    inputs: Inputs[CcaPolicy],
) -> Anchor:
    section = inputs.section
    pinned = (section and section.platform_keys) or frozenset()
    if bytes.fromhex(key.fingerprint) in pinned:
        return Anchor("a key that the policy names", "Arm", "", key.fingerprint, test=inputs.test)
    if certificate is not None:
        trusted = inputs.trusted if section is None else inputs.trusted | section.roots
        return anchor(chain_of(certificate, pool, inputs.at)[-1], "Arm", trusted=trusted, test=inputs.test)
    if inputs.policy is None:
        return Anchor("the key given", "Arm", "", key.fingerprint, given=True)
    raise Refused(
        Rule.ROOT,
        f"its platform's key {key.fingerprint} is not trusted",
        hint="if you know that it is the platform's, name it in the policy's platform-keys",
    )


def _require_binding(token: CcaToken) -> None:
    algorithm = _HASHES.get(token.realm.key_hash)
    if algorithm is None:
        raise Refused(Rule.REALM_KEY, f"the hash {token.realm.key_hash!r} of its realm's key is not known")
    if not hmac.compare_digest(algorithm(token.realm.key).digest(), token.platform.nonce):
        raise Refused(Rule.REALM_KEY, "its platform's token is not bound to its realm's key")
