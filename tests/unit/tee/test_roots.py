"""Roots: those that are pinned are documented."""

from __future__ import annotations

from tests.support.evidence import ROOT

from haulout.tee.roots import PINNED

DOCUMENT = (ROOT / "docs/evidence.md").read_text(encoding="utf-8")


def test_the_pinned_roots_are_documented():
    for root in PINNED:
        assert f"| {root.name} | `{root.fingerprint}` |" in DOCUMENT
