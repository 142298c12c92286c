"""Genuine tokens: the binding of realm and platform, profiles, signatures, chains."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.cca_tokens import judge
from tests.support.evidence import AT, BOOT, DATA, cca, cca_policy, given, policy, rule_of

from haulout.emulator import authorities
from haulout.emulator.cca import CcaState, encode_key
from haulout.errors import InvalidEvidence
from haulout.tee import verify
from haulout.tee.cca import parse as token
from haulout.tee.cca.parse import Profile, RealmProfile
from haulout.tee.cca.rules import CcaClaims


@pytest.mark.parametrize("profile", Profile)
def test_emulated_tokens_of_both_editions_are_accepted(profile):
    verdict = judge(CcaState(profile=profile), report_data=DATA)
    assert verdict.accepted, verdict.refusal
    assert verdict.open == ("implementations", "rim", "rem0", "rem1", "rem2", "rem3", "personalization")


@pytest.mark.parametrize("profile", Profile)
def test_41_the_platform_does_not_vouch_for_the_realms_key(profile):
    for nonce in (bytes(32), hashlib.sha256(b"another key").digest(), hashlib.sha384(b"x").digest()):
        assert rule_of(judge(CcaState(profile=profile, platform={token.NONCE: nonce}))) == "realm-key"


@pytest.mark.parametrize("name", ["sha-512", "sha-384", "sha-1", "md5", "SHA-256", ""])
def test_41_the_realms_key_is_hashed_otherwise(name):
    assert rule_of(judge(CcaState(realm={token.REALM_KEY_HASH: name}))) == "realm-key"


@pytest.mark.parametrize(("name", "digest"), [("sha-384", hashlib.sha384), ("sha-512", hashlib.sha512)])
def test_41_longer_hashes_of_the_realms_key(name, digest):
    key = authorities.p384_key()
    told = {token.NONCE: digest(encode_key(key, bare=False)).digest()}
    state = CcaState(realm={token.REALM_KEY_HASH: name}, platform=told)
    assert rule_of(judge(state, made={"realm_key": key})) is None


@pytest.mark.parametrize("profile", Profile)
def test_41_the_realm_is_signed_by_another_key(profile):
    assert rule_of(judge(CcaState(profile=profile), made={"signing_key": authorities.p384_key()})) == "signature"


def test_41_a_realm_of_another_platform():
    ours, theirs = (cbor2.loads(cca().token(DATA, BOOT)).value for _ in range(2))
    mixed = {token.PLATFORM: ours[token.PLATFORM], token.REALM: theirs[token.REALM]}
    data = cbor2.dumps(cbor2.CBORTag(token.TOKEN, mixed))
    assert rule_of(judge(data=data)) == "realm-key"


def test_41_the_platform_is_signed_by_another_key():
    other = type(cca()).make(AT)
    data = other.token(DATA, BOOT)
    assert rule_of(judge(data=data)) == "signature"
    both = policy("[cca]", roots=(cca().root.fingerprint(), other.root.fingerprint()))
    assert rule_of(judge(data=data, policy=both)) == "signature"
    assert rule_of(judge(data=data, policy=both, certificates=cca().certificates() + other.certificates())) is None


@pytest.mark.parametrize(
    "profile",
    ["", "http://arm.com/CCA-SSD/2.0.0", "tag:arm.com,2023:cca_platform#2.0.0", "tag:arm.com,2023:realm#1.0.0"],
)
def test_42_profiles_that_are_not_known(profile):
    assert rule_of(judge(CcaState(platform={token.PROFILE: profile}))) == "profile"


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("realm", [None, *RealmProfile])
def test_42_the_realms_profile_says_how_its_key_is_written(profile, realm):
    """Firmware of platform and realm is updated separately; Veraison accepts a legacy platform with a named realm."""
    key = authorities.p384_key()
    encoded = encode_key(key, bare=realm is None)
    told = {token.NONCE: hashlib.sha256(encoded).digest()}
    claims = {token.PROFILE: None if realm is None else str(realm), token.REALM_KEY: encoded}
    state = CcaState(profile=profile, platform=told, realm=claims)
    assert rule_of(judge(state, made={"realm_key": key})) is None


def test_42_profiles_that_are_not_accepted():
    assert rule_of(judge(CcaState(realm={token.PROFILE: "tag:arm.com,2024:realm#3.0.0"}))) == "profile"
    table = f'profiles = ["{Profile.PLATFORM_1}"]'
    assert rule_of(judge(CcaState(profile=Profile.LEGACY), table)) == "profile"
    # A realm that names its profile has a COSE_Key.
    bare = encode_key(authorities.p384_key(), bare=True)
    told = {token.NONCE: hashlib.sha256(bare).digest()}
    with pytest.raises(InvalidEvidence):
        judge(CcaState(platform=told, realm={token.REALM_KEY: bare}))


CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("of_realm", CURVES, ids=lambda curve: curve.name)
@pytest.mark.parametrize("of_platform", CURVES, ids=lambda curve: curve.name)
def test_42_keys_of_every_curve_of_cca(profile, of_platform, of_realm):
    leaf = authorities.issue("Haulout CPAK", ec.generate_private_key(of_platform), AT, issuer=cca().root)
    platform = replace(cca(), cpak=leaf)
    data = platform.token(DATA, BOOT, CcaState(profile=profile), realm_key=ec.generate_private_key(of_realm))
    assert rule_of(judge(data=data, certificates=platform.certificates())) is None


def test_42_claims_of_later_editions_are_passed_over():
    component = {1: "FAL", 2: bytes(32), 5: bytes(32), 7: True, 8: [bytes(32)]}
    more = {2394: 1, 2403: b"lot 7", 2404: [{1: "device"}], token.COMPONENTS: [component]}
    state = CcaState(profile=Profile.PLATFORM_2, platform=more, realm={44243: "private"})
    assert rule_of(judge(state)) is None


@pytest.mark.parametrize("algorithm", [-7, -36, -37, -8, 0, 5])
def test_42_other_algorithms(algorithm):
    assert rule_of(judge(CcaState(algorithm=algorithm))) == "signature-algorithm"


def accepted_key(data, files, asked):
    claims = verify(data, at=AT, certificates=given(files), policy=asked).claims
    assert isinstance(claims, CcaClaims)
    return claims.platform_key


def test_11_the_emulator_where_no_policy_for_tests_names_it():
    data, root = cca().token(DATA, BOOT), cca().root.fingerprint()
    key = accepted_key(data, cca().certificates(), cca_policy())
    for asked in (
        None,
        policy("[cca]"),
        policy(f'[cca]\nroots = ["{root}"]'),
        policy(f'[cca]\nplatform-keys = ["{key}"]'),
        policy("test = true\n[cca]"),
        policy("[cca]", roots=("00" * 32,)),
    ):
        assert rule_of(judge(data=data, policy=asked)) in {"test-root", "root"}
    assert rule_of(judge(data=data, policy=policy("[cca]"))) == "test-root"


def test_11_even_where_it_does_not_say_what_it_is_its_certificates_do():
    data = cca().token(DATA, BOOT, CcaState(platform={token.IMPLEMENTATION: bytes(range(32))}))
    root = cca().root.fingerprint()
    for asked in (None, policy("[cca]"), policy(f'[cca]\nroots = ["{root}"]')):
        assert rule_of(judge(data=data, policy=asked)) == "test-root"


@pytest.mark.parametrize("days", [-3, 3652])
def test_13_certificates_that_are_not_valid_at_the_time(days):
    assert rule_of(judge(at=AT + timedelta(days=days))) == "certificate-validity"


def test_13_a_platforms_certificate_that_leads_nowhere():
    assert rule_of(judge(certificates=cca().cpak.pem())) == "certificate-missing"
    other = authorities.issue("Haulout CPAK Root", authorities.p384_key(), AT, authority=True, path_length=0)
    assert rule_of(judge(certificates=cca().cpak.pem() + other.pem())) == "chain"
