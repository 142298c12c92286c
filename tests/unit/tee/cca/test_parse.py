"""Tokens as bytes. The numbers in names are those of docs/evidence.md."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from tests.support.cca_tokens import joined, judge, parts, with_signed
from tests.support.evidence import BOOT, DATA, cca

from haulout.emulator.cca import CcaState, sign
from haulout.errors import InvalidEvidence
from haulout.tee.cca import parse as token

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


def test_signing_is_what_the_standard_says():
    """RFC 9052, section 4.4: the structure that is signed has the context first, and no external data."""
    signed = cbor2.loads(sign({1: 2}, cca().cpak.signing_key))
    assert cbor2.loads(token.to_verify(signed.value[0], signed.value[2])) == [
        "Signature1",
        cbor2.dumps({1: -35}),
        b"",
        cbor2.dumps({1: 2}),
    ]
