"""What an Arm CCA token must not get away with. The numbers are those of our list of negative cases."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.evidence import AT, BOOT, DATA, cca, cca_policy, given, policy, rule_of

from haulout.emulator import authorities
from haulout.emulator.cca import CcaState, encode_key, sign
from haulout.errors import InvalidEvidence
from haulout.tee import verify
from haulout.tee.cca import parse as token
from haulout.tee.cca.parse import EMULATED, Profile
from haulout.tee.cca.rules import CcaClaims


def judge(state=None, table="", *, data=None, certificates=None, made: Any = None, **more: Any):
    data = cca().token(DATA, BOOT, state, **(made or {})) if data is None else data
    files = cca().certificates() if certificates is None else certificates
    asked: dict[str, Any] = {"at": AT, "certificates": given(files), "policy": cca_policy(table)} | more
    return verify(data, **asked)


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
    told = {token.NONCE: digest(encode_key(key, legacy=False)).digest()}
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


LIFECYCLES = [0x0000, 0x00FF, 0x1000, 0x2000, 0x2FFF, 0x3100, 0x4000, 0x40FF, 0x5000, 0x6000, 0x7000, 0xFFFF]


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_42_platforms_that_are_not_secured(lifecycle):
    assert rule_of(judge(CcaState(platform={token.LIFECYCLE: lifecycle}))) == "lifecycle"


@pytest.mark.parametrize("lifecycle", [0x3000, 0x3001, 0x30FF])
def test_42_platforms_that_are_secured(lifecycle):
    assert rule_of(judge(CcaState(platform={token.LIFECYCLE: lifecycle}))) is None


@pytest.mark.parametrize(
    "profile",
    ["", "http://arm.com/CCA-SSD/2.0.0", "tag:arm.com,2023:cca_platform#2.0.0", "tag:arm.com,2023:realm#1.0.0"],
)
def test_42_profiles_that_are_not_known(profile):
    assert rule_of(judge(CcaState(platform={token.PROFILE: profile}))) == "profile"


def test_42_profiles_that_do_not_go_together():
    assert rule_of(judge(CcaState(realm={token.PROFILE: "tag:arm.com,2024:realm#2.0.0"}))) == "profile"
    legacy = CcaState(profile=Profile.LEGACY, realm={token.PROFILE: "tag:arm.com,2023:realm#1.0.0"})
    assert rule_of(judge(legacy)) == "profile"
    # The edition says how the realm's key is written, too.
    told = CcaState(profile=Profile.LEGACY, platform={token.PROFILE: str(Profile.PLATFORM_1)})
    with pytest.raises(InvalidEvidence):
        judge(told)
    table = f'profiles = ["{Profile.PLATFORM_1}"]'
    assert rule_of(judge(CcaState(profile=Profile.LEGACY), table)) == "profile"


@pytest.mark.parametrize("algorithm", [-7, -36, -37, -8, 0, 5])
def test_42_other_algorithms(algorithm):
    assert rule_of(judge(CcaState(algorithm=algorithm))) == "signature-algorithm"


def test_42_platforms_that_the_policy_does_not_list():
    assert rule_of(judge(None, f'instances = ["01{"00" * 32}"]')) == "instance"
    assert rule_of(judge(None, f'instances = ["{cca().instance.hex()}"]')) is None
    assert rule_of(judge(None, f'implementations = ["{"00" * 32}"]')) == "implementation"
    assert rule_of(judge(None, f'implementations = ["{EMULATED.hex()}"]')) is None


@pytest.mark.parametrize("half", [slice(0, 48), slice(48, 96)], ids=["r", "s"])
@pytest.mark.parametrize("number", [bytes(48), b"\xff" * 48], ids=["zero", "too large"])
@pytest.mark.parametrize("which", [token.PLATFORM, token.REALM])
def test_numbers_of_signatures_out_of_range(which, half, number):
    def change(signature):
        changed = bytearray(signature)
        changed[half] = number
        return bytes(changed)

    assert rule_of(judge(data=with_signature(which, change))) == "signature-encoding"


@pytest.mark.parametrize("length", [0, 64, 95, 97, 132])
@pytest.mark.parametrize("which", [token.PLATFORM, token.REALM])
def test_signatures_of_another_length(which, length):
    data = with_signature(which, lambda signature: (signature * 2)[:length])
    assert rule_of(judge(data=data)) == "signature-encoding"


def parts(data=None):
    return dict(cbor2.loads(cca().token(DATA, BOOT) if data is None else data).value)


def joined(values):
    return cbor2.dumps(cbor2.CBORTag(token.TOKEN, values))


def with_signed(which, change):
    """Return a token in which one COSE_Sign1 has its four parts changed."""
    values = parts()
    signed = cbor2.loads(values[which])
    values[which] = cbor2.dumps(cbor2.CBORTag(signed.tag, change(list(signed.value))))
    return joined(values)


def with_signature(which, change):
    return with_signed(which, lambda four: [*four[:3], change(four[3])])


CLAIMS: dict[str, dict[int, list[Any]]] = {
    "platform": {
        token.PROFILE: [None, 7, "x" * 501, "a\nb"],
        token.NONCE: [None, bytes(31), "text", 5],
        token.INSTANCE: [None, bytes(33), b"\x01" * 32, b"\x02" * 33],
        token.IMPLEMENTATION: [None, bytes(31)],
        token.LIFECYCLE: [None, -1, 0x10000, "secured"],
        token.CONFIGURATION: [None, b"", bytes(1025)],
        token.PLATFORM_HASH: [None, 1],
        token.COMPONENTS: [
            None,
            [],
            {},
            [7],
            [{}],
            [{2: bytes(32)}],
            [{2: bytes(31), 5: bytes(32)}],
            [{2: bytes(32), 5: 5}],
            [{1: 1, 2: bytes(32), 5: bytes(32)}],
            [{2: bytes(32), 5: bytes(32)}] * 65,
        ],
        token.VERIFICATION_SERVICE: [7],
    },
    "realm": {
        token.NONCE: [None, bytes(32), bytes(63), bytes(65)],
        token.PERSONALIZATION: [None, bytes(32)],
        token.REALM_KEY: [None, b"", bytes(257), "key"],
        token.REALM_HASH: [None, 1],
        token.REALM_KEY_HASH: [None, 1],
        token.RIM: [None, b"", bytes(20), bytes(65)],
        token.REM: [None, [], [bytes(64)] * 3, [bytes(64)] * 5, [bytes(64)] * 3 + [bytes(63)], bytes(64)],
        token.PROFILE: [7],
    },
}
CASES = [
    (part, claim, value) for part, claims in CLAIMS.items() for claim, values in claims.items() for value in values
]


@pytest.mark.parametrize(("part", "claim", "value"), CASES)
def test_claims_that_are_missing_or_of_another_type(part, claim, value):
    with pytest.raises(InvalidEvidence) as caught:
        judge(CcaState(platform={claim: value}) if part == "platform" else CcaState(realm={claim: value}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_a_component_may_do_without_name_and_version():
    assert judge(CcaState(platform={token.COMPONENTS: [{2: bytes(48), 5: bytes(32), 4: "1.0"}]})).accepted


POINT = b"\x04" + b"\x01" * 96
KEYS = {
    "legacy": [bytes(97), POINT, POINT[:96], b"\x02" + b"\x01" * 48, b"\x04" + b"\xff" * 96],
    "cose": [
        POINT,
        cbor2.dumps({1: 2, -1: 2}),
        cbor2.dumps({1: 2, -1: 1, -2: bytes(48), -3: bytes(48)}),
        cbor2.dumps({1: 3, -1: 2, -2: bytes(48), -3: bytes(48)}),
        cbor2.dumps({1: 2, -1: 2, -2: bytes(47), -3: bytes(48)}),
        cbor2.dumps({1: 2, -1: 2, -2: b"\x01" * 48, -3: b"\x01" * 48}),
        cbor2.dumps({1: 2, -1: 2, -2: 1, -3: True}),
        cbor2.dumps([1, 2]),
    ],
}


@pytest.mark.parametrize(("edition", "key"), [(edition, key) for edition, keys in KEYS.items() for key in keys])
def test_realms_keys_that_are_none(edition, key):
    profile = Profile.LEGACY if edition == "legacy" else Profile.PLATFORM_1
    state = CcaState(
        profile=profile, realm={token.REALM_KEY: key}, platform={token.NONCE: hashlib.sha256(key).digest()}
    )
    with pytest.raises(InvalidEvidence):
        judge(state)


def test_claims_that_are_not_known_are_signed_and_left_alone():
    assert judge(CcaState(realm={70000: [1, {2: b"x"}, "text"]}, platform={-70001: 5})).accepted


STRUCTURES = {
    "no tag": lambda: cbor2.dumps(parts()),
    "another tag": lambda: cbor2.dumps(cbor2.CBORTag(400, parts())),
    "a list": lambda: cbor2.dumps(cbor2.CBORTag(token.TOKEN, list(parts().items()))),
    "no realm": lambda: joined({token.PLATFORM: parts()[token.PLATFORM]}),
    "no platform": lambda: joined({token.REALM: parts()[token.REALM]}),
    "one more part": lambda: joined(parts() | {1: b""}),
    "a part that is no string": lambda: joined(parts() | {token.REALM: 1}),
    "a part that is no CBOR": lambda: joined(parts() | {token.REALM: b"\xff"}),
    "a part that is empty": lambda: joined(parts() | {token.REALM: b""}),
    "a COSE_Mac0": lambda: joined(parts() | {token.REALM: b"\xd1" + parts()[token.REALM][1:]}),
    "three parts": lambda: with_signed(token.REALM, lambda four: four[:3]),
    "five parts": lambda: with_signed(token.REALM, lambda four: [*four, b""]),
    "a detached payload": lambda: with_signed(token.REALM, lambda four: [four[0], {}, b"", four[3]]),
    "a payload that is none": lambda: with_signed(token.REALM, lambda four: [four[0], {}, 5, four[3]]),
    "unsigned headers": lambda: with_signed(token.REALM, lambda four: [four[0], {4: b"key"}, *four[2:]]),
    "an algorithm that is not signed": lambda: with_signed(token.REALM, lambda four: [b"\xa0", {1: -35}, *four[2:]]),
    "no algorithm": lambda: with_signed(token.REALM, lambda four: [b"\xa0", *four[1:]]),
    "an empty header": lambda: with_signed(token.REALM, lambda four: [b"", *four[1:]]),
    "more headers": lambda: with_signed(token.REALM, lambda four: [cbor2.dumps({1: -35, 2: [1]}), *four[1:]]),
    "an algorithm by name": lambda: with_signed(token.REALM, lambda four: [cbor2.dumps({1: "ES384"}), *four[1:]]),
    "claims that are a list": lambda: with_signed(token.REALM, lambda four: [*four[:2], cbor2.dumps([1]), four[3]]),
    "something behind it": lambda: cca().token(DATA, BOOT) + b"\0",
    "padded": lambda: cca().token(DATA, BOOT) + bytes(100),
    "cut short": lambda: cca().token(DATA, BOOT)[:-1],
    "the tag alone": lambda: b"\xd9\x01\x8f",
    "a number of two bytes where one does": lambda: (
        cca().token(DATA, BOOT).replace(b"\xd9\x01\x8f\xa2", b"\xd9\x01\x8f\xb8\x02", 1)
    ),
    "an indefinite map": lambda: cca().token(DATA, BOOT).replace(b"\xd9\x01\x8f\xa2", b"\xd9\x01\x8f\xbf", 1) + b"\xff",
    "nested lists": lambda: b"\xd9\x01\x8f" + b"\x81" * 5000 + b"\0",
    "a map of 4 billion": lambda: b"\xd9\x01\x8f\xba\xff\xff\xff\xff",
    "a string of 2^63 bytes": lambda: b"\xd9\x01\x8f\x5b\x7f" + b"\xff" * 7,
    "a reference to itself": lambda: b"\xd9\x01\x8f\xd8\x1c\x81\xd8\x1d\x00",
    "a date": lambda: b"\xd9\x01\x8f\xc0\x63abc",
    "a regular expression": lambda: b"\xd9\x01\x8f\xd8\x23\x63(a+",
    "a decimal": lambda: b"\xd9\x01\x8f\xc4\x82\x1b" + b"\xff" * 8 + b"\x01",
    "not a number": lambda: b"\xd9\x01\x8f\xf9\x7e\x00",
    "true": lambda: b"\xd9\x01\x8f\xf5",
}


@pytest.mark.parametrize("case", STRUCTURES)
def test_another_structure(case):
    with pytest.raises(InvalidEvidence) as caught:
        judge(data=STRUCTURES[case]())
    assert str(caught.value).isprintable()


def test_a_claim_twice():
    """Two readers might take either."""
    platform = cbor2.loads(parts()[token.PLATFORM])
    payload = platform.value[2]
    more = bytes([payload[0] + 1]) + payload[1:] + cbor2.dumps(token.LIFECYCLE) + cbor2.dumps(0x3000)
    signed = cbor2.dumps(cbor2.CBORTag(18, [platform.value[0], {}, more, platform.value[3]]))
    with pytest.raises(InvalidEvidence, match="not CBOR, or is ambiguous"):
        judge(data=joined(parts() | {token.PLATFORM: signed}))


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


def jwk(key=None, **changed):
    numbers = (key or cca().cpak.signing_key).public_key().public_numbers()

    def number(value):
        return base64.urlsafe_b64encode(value.to_bytes(48, "big")).rstrip(b"=").decode()

    return json.dumps({"kty": "EC", "crv": "P-384", "x": number(numbers.x), "y": number(numbers.y)} | changed).encode()


def pem(key=None):
    return (key or cca().cpak.key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("bare", [jwk, pem])
def test_bare_keys_count_by_who_gives_them(bare):
    data = cca().token(DATA, BOOT, CcaState(platform={token.IMPLEMENTATION: bytes(range(32))}))
    alone = judge(data=data, certificates=bare(), policy=None)
    assert alone.accepted
    assert alone.claims.anchor.name == "the key given"
    assert rule_of(judge(data=data, certificates=bare(), policy=policy("[cca]"))) == "root"
    pinned = policy(f'[cca]\nplatform-keys = ["{alone.claims.platform_key}"]')
    assert judge(data=data, certificates=bare(), policy=pinned).accepted
    other = authorities.p384_key()
    assert rule_of(judge(data=data, certificates=bare(other), policy=None)) == "signature"


@pytest.mark.parametrize(
    "key",
    [
        b"{}",
        b"{",
        b'{"a":1,"a":2}',
        jwk(kty="RSA"),
        jwk(crv="P-256"),
        jwk(x="AA"),
        jwk(x="!" * 64),
        jwk(y="A" * 64),
        jwk(y=None),
        jwk(d="secret"),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        pem(authorities.p256_key()),
    ],
    ids=range(12),
)
def test_bare_keys_that_are_none(key):
    with pytest.raises(InvalidEvidence) as caught:
        judge(certificates=key)
    assert "secret" not in str(caught.value)


def test_a_platforms_certificate_for_another_kind_of_key():
    leaf = authorities.issue("Haulout CPAK", authorities.p256_key(), AT, issuer=cca().root)
    with pytest.raises(InvalidEvidence, match="P-384"):
        judge(certificates=leaf.pem() + cca().root.pem())


@pytest.mark.parametrize("days", [-3, 3652])
def test_13_certificates_that_are_not_valid_at_the_time(days):
    assert rule_of(judge(at=AT + timedelta(days=days))) == "certificate-validity"


def test_13_a_platforms_certificate_that_leads_nowhere():
    assert rule_of(judge(certificates=cca().cpak.pem())) == "certificate-missing"
    other = authorities.issue("Haulout CPAK Root", authorities.p384_key(), AT, authority=True, path_length=0)
    assert rule_of(judge(certificates=cca().cpak.pem() + other.pem())) == "chain"


@pytest.mark.parametrize("name", ["rim", "rem0", "rem1", "rem2", "rem3"])
def test_16_another_measurement(name):
    right = BOOT.rim() if name == "rim" else bytes(64)
    assert rule_of(judge(None, f'{name} = ["{right.hex()}"]')) is None
    for wrong in (right[:63] + b"\x99", right[:32], b"\x99" + right[1:]):
        assert rule_of(judge(None, f'{name} = ["{wrong.hex()}"]')) == "measurement"


def test_23_another_workload():
    table = f'personalization = ["{"07" * 64}"]'
    assert rule_of(judge(None, table)) == "workload"
    assert rule_of(judge(CcaState(personalization=b"\x07" * 64), table)) is None


@pytest.mark.parametrize("expected", [bytes(64), DATA[:32] + bytes(32), DATA[:32]])
def test_14_the_challenge(expected):
    assert rule_of(judge(report_data=expected)) == "report-data"


def test_signing_is_what_the_standard_says():
    """RFC 9052, section 4.4: the structure that is signed has the context first, and no external data."""
    signed = cbor2.loads(sign({1: 2}, cca().cpak.signing_key))
    assert cbor2.loads(token.to_verify(signed.value[0], signed.value[2])) == [
        "Signature1",
        cbor2.dumps({1: -35}),
        b"",
        cbor2.dumps({1: 2}),
    ]
