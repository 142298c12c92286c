"""docs/evidence.md: every rule and every key of a policy is in it, and the roots are those that are pinned."""

from __future__ import annotations

import re

import pytest
from tests.support.evidence import ROOT
from tests.unit.tee.test_policy import LINES

from haulout.tee import Rule
from haulout.tee.roots import PINNED

DOCUMENT = (ROOT / "docs/evidence.md").read_text(encoding="utf-8")
RULES = DOCUMENT.partition("## Rules")[2]
POLICY = DOCUMENT.partition("## Policy")[2].partition("## Rules")[0]


def test_every_rule_is_documented_and_no_other():
    told = {name for line in RULES.splitlines() if line.startswith("| `") for name in re.findall(r"`([a-z-]+)`", line)}
    assert told == set(Rule)


@pytest.mark.parametrize("name", sorted({line.partition(" =")[0] for line in LINES}))
def test_every_key_of_a_policy_is_documented(name):
    if re.fullmatch(r"rtmr[12]|rem[12]", name):
        pytest.skip("named by the first and the last")
    assert re.search(rf"`(freshness\.)?{name}`", POLICY)


def test_the_pinned_roots_are_documented():
    for root in PINNED:
        assert f"| {root.name} | `{root.fingerprint}` |" in DOCUMENT
