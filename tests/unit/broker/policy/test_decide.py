"""Decisions: each rule refuses for its own reason, and names itself with what is asked and what there is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.evidence import AT, BOOT, DATA, given, snp
from tests.support.workload_policies import (
    BINDINGS,
    FACTS,
    NOW,
    OTHER,
    bound,
    decided,
    document,
    image,
    judge,
    policy,
    report,
)

from haulout.broker.policy import ReleaseRule, decide, parse
from haulout.emulator.snp import SnpState
from haulout.tee import verify


def test_evidence_that_satisfies_the_policy_gets_the_key():
    asked = policy(image(1), image(2))
    found = decided(asked, report(2))
    assert found.to_dict() == {
        "allowed": True,
        "rule": "allowed",
        "words": "the evidence satisfies the policy; it is the image 1.2, epoch 2",
        "hint": None,
        "policy": asked.digest,
        "image": "1.2",
        "epoch": 2,
    }


def test_a_binding_in_the_section_is_enough():
    found = decided(policy(snp_section=bound()))
    assert (found.allowed, found.image, found.epoch) == (True, None, None)


@pytest.mark.parametrize(
    ("release", "facts", "rule", "words"),
    [
        ("", {"v0": True}, "protocol", ["v0", "0.4.0"]),
        ("evidence-seconds = 5", {}, "evidence-age", ["10 seconds", "allows 5"]),
        ("", {"verified": NOW + timedelta(seconds=1)}, "evidence-age", ["-1 seconds"]),
        ("not-before = 2026-07-01T00:00:00Z", {}, "not-before", ["from 2026-07-01", "it is 2026-06-01T12:00:10Z"]),
        ("not-after = 2026-05-01T00:00:00Z", {}, "not-after", ["until 2026-05-01", "it is 2026-06-01T12:00:10Z"]),
        ("releases = 3", {"releases": 3}, "releases", ["allows 3 releases", "3 were made"]),
        ("releases = 1", {"releases": 4}, "releases", ["allows 1 release;", "4 were made"]),
        ("releases = 0", {}, "releases", ["allows 0 releases", "0 were made"]),
        ("minimum-epoch = 2", {}, "epoch", ["has epoch 1", "at least 2"]),
    ],
)
def test_a_rule_of_release_refuses(release, facts, rule, words):
    found = decided(policy(image(1), release=release), facts=replace(FACTS, **facts))
    assert (found.allowed, found.rule) == (False, rule)
    assert all(word in found.words for word in words), found.words


@pytest.mark.parametrize(
    ("release", "facts"),
    [
        ("v0 = true", {"v0": True}),
        ("evidence-seconds = 10", {}),
        ("not-before = 2026-06-01T12:00:10Z", {}),
        ("not-after = 2026-06-01T12:00:10Z", {}),
        ("releases = 3", {"releases": 2}),
        ("minimum-epoch = 1", {}),
    ],
)
def test_the_edge_is_allowed(release, facts):
    assert decided(policy(image(1), release=release), facts=replace(FACTS, **facts)).allowed


def test_the_image_has_to_be_one_of_the_policy():
    found = decided(policy(image(1), image(2)), report(3))
    assert (found.allowed, found.rule) == (False, "workload")
    assert BINDINGS[3].host_data.hex()[:32] in found.words
    assert "none of its 2 images" in found.words


def test_a_measurement_of_another_image_does_not_count():
    asked = policy(image(1, OTHER), image(2))
    assert decided(asked, report(2)).allowed
    found = decided(asked, report(1))
    assert (found.allowed, found.rule) == (False, "measurement")


def test_an_image_that_was_listed_twice_counts_with_its_newest_epoch():
    twice = image(1).replace("epoch = 1", "epoch = 4").replace('"1.1"', '"again"')
    found = decided(policy(image(1), twice, release="minimum-epoch = 3"))
    assert (found.allowed, found.epoch, found.image) == (True, 4, "again")


def test_the_section_holds_besides_the_images():
    found = decided(policy(image(1), snp_section=f'measurements = ["{OTHER}"]'))
    assert (found.allowed, found.rule) == (False, "measurement")
    found = decided(policy(image(1), snp_section='host-data = ["' + "00" * 32 + '"]'))
    assert (found.allowed, found.rule) == (False, "workload")


def test_a_refusal_of_the_verifier_is_the_decision():
    asked = policy(image(1))
    debug = snp().report(DATA, BOOT, SnpState(host_data=BINDINGS[1].host_data, policy=1 << 17 | 1 << 16 | 1 << 19))
    assert decided(asked, debug).rule == "debug"
    assert decide(asked, judge(asked, report_data=bytes(64)), FACTS).rule == "report-data"
    assert decide(asked, judge(asked, report_data=None), FACTS).rule == "freshness"
    assert decide(asked, judge(asked, certificates=()), FACTS).rule == "certificate-missing"
    changed = bytearray(report())
    changed[0x100] ^= 1
    assert decided(asked, bytes(changed)).rule == "signature"


def test_an_emulator_needs_a_policy_that_says_so():
    real = parse(
        b"\n".join(line for line in document(image(1)).splitlines() if not line.startswith((b"test", b"roots")))
    )
    assert decided(real).rule == "test-root"


def test_a_verdict_by_another_policy_does_not_count():
    old, new = policy(image(1)), policy(image(1), release="releases = 9")
    found = decide(new, judge(old), FACTS)
    assert (found.allowed, found.rule) == (False, ReleaseRule.POLICY_CHANGED)
    bare = verify(report(), at=AT, certificates=given(snp().certificates()))
    assert decide(new, bare, FACTS).rule == ReleaseRule.POLICY_CHANGED


def test_the_time_needs_a_zone():
    asked = policy(image(1))
    with pytest.raises(ValueError, match="time zone"):
        decided(asked, facts=replace(FACTS, now=datetime(2026, 6, 1)))  # noqa: DTZ001
    assert decided(asked, facts=replace(FACTS, now=datetime(2026, 6, 1, 12, 0, 10, tzinfo=UTC))).allowed


@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 5])
def test_the_order_of_images_changes_nothing(epoch):
    # Two entries are the same image, one has another measurement: nothing may depend on which is met first.
    entries = [image(1), image(2, OTHER), image(3), image(3, OTHER, name="3 again"), image(2, name="2 again")]
    answers = set()
    for order in itertools.islice(itertools.permutations(entries), 0, 120, 7):
        found = decided(policy(*order, release="minimum-epoch = 2"), report(epoch))
        answers.add((found.allowed, found.rule, found.words, found.image, found.epoch))
    assert len(answers) == 1
