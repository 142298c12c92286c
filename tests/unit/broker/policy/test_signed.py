"""Signed lists of images: what is not signed by a pinned key, or is old, is not followed."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.support.documents import blocks
from tests.support.evidence import ROOT
from tests.support.image_lists import FOLLOWING, KEY, envelope, payload, pem, signed
from tests.support.workload_policies import FACTS, decided, judge, policy, report

from haulout.broker.policy import RefusedList, decide, follow, read_list
from haulout.broker.policy.signed import encoded
from haulout.errors import InvalidPolicy

CURVES = {
    "P-256": (ec.SECP256R1(), hashes.SHA256()),
    "P-384": (ec.SECP384R1(), hashes.SHA384()),
    "P-521": (ec.SECP521R1(), hashes.SHA512()),
}


def der(key: Any) -> Any:
    """Write a public key as policies hold it."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def followed(*lists: bytes, release: str = "") -> Any:
    """Follow one list after another; return the policy as it is after the last."""
    base = policy(more=FOLLOWING, release=release)
    found, before = base, None
    for each in lists:
        listed = read_list(each, base.keys)
        found = follow(base, "web", listed, before)
        before = listed
    return found


def test_old_and_new_images_count_during_a_rollout():
    asked = followed(signed(payload(1, 2)))
    assert [decided(asked, report(epoch)).rule for epoch in (1, 2, 3)] == ["allowed", "allowed", "workload"]
    assert asked.listed == 1


def test_images_below_the_minimum_epoch_are_dropped():
    asked = followed(signed(payload(1, 2)), signed(payload(1, 2, 3, number=2, floor=2)))
    assert [image["epoch"] for image in asked.named] == [3, 2]
    assert decided(asked, report(1)).rule == "workload"
    assert [image["epoch"] for image in followed(signed(payload(1, 2, 3)), release="minimum-epoch = 3").named] == [3]


def test_without_a_list_nothing_is_released():
    asked = policy(more=FOLLOWING)
    found = decided(asked)
    assert (found.allowed, found.rule) == (False, "list-missing")


def test_a_list_that_is_empty_releases_nothing():
    found = decided(followed(signed(payload())))
    assert (found.allowed, found.rule) == (False, "workload")


@pytest.mark.parametrize("name", CURVES)
def test_ecdsa_signs_as_well(name):
    curve, digest = CURVES[name]
    key, content = ec.generate_private_key(curve), payload(1)
    sealed = envelope(content, key.sign(encoded(content), ec.ECDSA(digest)))
    asked = policy(more=f"[follow]\nkeys = ['''{pem(key)}''', '''{pem(KEY)}''']")
    assert read_list(sealed, asked.keys).workload == "web"
    with pytest.raises(RefusedList, match="none of the keys"):
        read_list(sealed, [der(KEY)])


def test_any_pinned_key_is_enough_among_other_signatures():
    content = payload(1)
    other = ed25519.Ed25519PrivateKey.generate()
    sealed = envelope(content, b"", other.sign(encoded(content)), KEY.sign(encoded(content)))
    assert read_list(sealed, [der(KEY)]).number == 1


CONTENT = payload(1)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (envelope(CONTENT), "signature"),
        (envelope(CONTENT, KEY.sign(CONTENT)), "signature"),
        (envelope(payload(1, 2), KEY.sign(encoded(CONTENT))), "signature"),
        (envelope(CONTENT, KEY.sign(encoded(CONTENT)), kind="application/json"), "format"),
        (signed(b"{"), "format"),
        (signed(b"[]"), "format"),
        (signed(payload(1, more=1)), "format"),
        (signed(payload(1, number=-1)), "format"),
        (signed(CONTENT.replace(b'"number": 1', b'"number": 1, "number": 2')), "format"),
        (signed(CONTENT.replace(b'"epoch": 1', b'"epoch": "1"')), "format"),
        (signed(CONTENT.replace(b'"measurements"', b'"debug"')), "format"),
        (b"", "format"),
        (b"{}", "format"),
        (b'{"payload": "?", "payloadType": "x", "signatures": []}', "format"),
        (envelope(CONTENT, *[b"x"] * 17), "format"),
    ],
)
def test_what_is_not_signed_or_not_a_list_is_refused(data, rule):
    with pytest.raises(RefusedList) as caught:
        read_list(data, [der(KEY)])
    assert caught.value.rule == rule
    assert len(str(caught.value).splitlines()) == 1


def test_every_flipped_bit_of_a_list_is_refused():
    envelope_ = json.loads(signed(CONTENT))
    raw = bytearray(base64.b64decode(envelope_["payload"]))
    for place in range(0, len(raw), 7):
        raw[place] ^= 1
        changed = {**envelope_, "payload": base64.b64encode(raw).decode()}
        with pytest.raises(RefusedList) as caught:
            read_list(json.dumps(changed).encode(), [der(KEY)])
        assert caught.value.rule == "signature"
        raw[place] ^= 1


@pytest.mark.parametrize(
    ("lists", "rule", "words"),
    [
        ([payload(1, number=2), payload(1)], "rollback", "number 1, but 2"),
        ([payload(1), payload(1, 2)], "rollback", "differs from the list with the same number"),
        ([payload(1, floor=1), payload(1, number=2)], "rollback", "minimum epoch, 0, is below 1"),
        ([payload(1, workload="shop")], "workload", "'shop', not 'web'"),
    ],
)
def test_an_older_list_or_anothers_is_not_followed(lists, rule, words):
    with pytest.raises(RefusedList, match=re.escape(words)) as caught:
        followed(*map(signed, lists))
    assert caught.value.rule == rule


def test_the_same_list_again_changes_nothing():
    once, twice = followed(signed(payload(1))), followed(signed(payload(1)), signed(payload(1)))
    assert once == twice


def test_a_list_cannot_loosen_what_the_policy_demands():
    content = json.loads(payload(1))
    content["images"][0]["snp"]["measurements"] = ["ab"]
    with pytest.raises(InvalidPolicy, match=re.escape("images[0].snp.measurements")):
        followed(signed(json.dumps(content).encode()))
    content["images"][0]["snp"] = {}
    with pytest.raises(InvalidPolicy, match="any firmware and kernel"):
        followed(signed(json.dumps(content).encode()))


def test_a_new_list_does_not_make_a_verdict_void():
    asked = followed(signed(payload(1)))
    verdict = judge(asked)
    assert decide(followed(signed(payload(1)), signed(payload(1, 2, number=2))), verdict, FACTS).allowed


def test_rsa_does_not_sign_lists():
    key = rsa.generate_private_key(65537, 2048)
    with pytest.raises(InvalidPolicy, match="another kind"):
        policy(more=f"[follow]\nkeys = ['''{pem(key)}''']")


def test_the_program_of_the_documents_makes_a_list(tmp_path):
    (program,) = [one.text for one in blocks(ROOT / "docs/formats/images.md") if one.language == "python"]
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    asked = policy(more=f"[follow]\nkeys = ['''{done.stdout}''']")
    listed = read_list((tmp_path / "images.json").read_bytes(), asked.keys)
    assert (listed.workload, listed.number) == ("web", 7)
    assert follow(asked, "web", listed, None).named == ({"name": "1.5", "epoch": 4},)
