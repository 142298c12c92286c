"""Rules: every one is documented."""

from __future__ import annotations

import re

from tests.support.evidence import ROOT

from haulout.tee import Rule

DOCUMENT = (ROOT / "docs/evidence.md").read_text(encoding="utf-8")
RULES = DOCUMENT.partition("## Rules")[2]


def test_every_rule_is_documented_and_no_other():
    told = {name for line in RULES.splitlines() if line.startswith("| `") for name in re.findall(r"`([a-z-]+)`", line)}
    assert told == set(Rule)
