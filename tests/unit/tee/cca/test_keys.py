"""Keys of platforms and realms."""

from __future__ import annotations

import base64
import hashlib
import json

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.cca_tokens import judge, with_signed
from tests.support.evidence import AT, BOOT, DATA, cca, policy, rule_of

from haulout.emulator import authorities
from haulout.emulator.cca import CcaState
from haulout.errors import InvalidEvidence
from haulout.tee.cca import parse as token
from haulout.tee.cca.keys import CURVES, read, realm_key
from haulout.tee.cca.parse import Profile


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


def with_signature(which, change):
    return with_signed(which, lambda four: [*four[:3], change(four[3])])


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


def jwk(key=None, **changed):
    numbers = (key or cca().cpak.signing_key).public_key().public_numbers()

    def number(value):
        return base64.urlsafe_b64encode(value.to_bytes(48, "big")).rstrip(b"=").decode()

    return json.dumps({"kty": "EC", "crv": "P-384", "x": number(numbers.x), "y": number(numbers.y)} | changed).encode()


def pem(key=None):
    return (key or cca().cpak.key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("curve", CURVES.values(), ids=lambda curve: curve.name)
def test_json_web_keys_of_every_curve(curve):
    key = ec.generate_private_key(curve.curve)
    numbers = key.public_key().public_numbers()

    def number(value):
        return base64.urlsafe_b64encode(value.to_bytes(curve.size, "big")).rstrip(b"=").decode()

    given = json.dumps({"kty": "EC", "crv": curve.name, "x": number(numbers.x), "y": number(numbers.y)}).encode()
    assert read(given, "key").fingerprint == read(pem(key), "key").fingerprint
    compressed = cbor2.dumps(
        {1: 2, -1: curve.number, -2: numbers.x.to_bytes(curve.size, "big"), -3: numbers.y & 1 == 1}
    )
    assert realm_key(compressed, bare=False).public_numbers() == numbers


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
        pem(ec.generate_private_key(ec.SECP256K1())),
    ],
    ids=range(12),
)
def test_bare_keys_that_are_none(key):
    with pytest.raises(InvalidEvidence) as caught:
        judge(certificates=key)
    assert "secret" not in str(caught.value)


def test_a_platforms_certificate_for_another_kind_of_key():
    leaf = authorities.issue("Haulout CPAK", ec.generate_private_key(ec.SECP256K1()), AT, issuer=cca().root)
    with pytest.raises(InvalidEvidence, match="P-384"):
        judge(certificates=leaf.pem() + cca().root.pem())
