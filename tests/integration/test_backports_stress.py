"""20,000 commits and 200 branches: every state is right, in little time, and nothing is written."""

from __future__ import annotations

import importlib.util

import pytest
from tests.support.sandbox import ROOT

SECONDS = 15.0
"""Five times what is promised, as tests run beside each other; the promise itself is measured by ``make objects``."""


@pytest.mark.slow
def test_two_hundred_branches(tmp_path):
    spec = importlib.util.spec_from_file_location("bench_backports", ROOT / "benchmarks/backports.py")
    assert spec is not None
    assert spec.loader is not None
    objects = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(objects)
    fix, states = objects.build(tmp_path / "library")
    assert (objects.count(tmp_path / "library"), len(states)) == (20_000, 200)
    assert set(states.values()) == {"present", "reverted", "missing, applies", "not affected"}
    before = objects.fingerprint(tmp_path / "library")
    seconds, found = objects.status(tmp_path / "library", fix)
    assert found == states
    assert objects.fingerprint(tmp_path / "library") == before
    assert seconds < SECONDS
