"""Generated histories: what ``status`` says is true, and ``pick`` does what it says."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.support.backport_histories import MISSING, PARTLY, REVERTED, make

from haulout.backports import abort_pick, picks, status

GONE = {"missing, applies", "missing, conflicts"}


@pytest.fixture(scope="module", params=[15, 16])
def history(request, tmp_path_factory):
    return make(tmp_path_factory.mktemp("history") / "lib", request.param, fixes=18, branches=4)


@pytest.fixture(scope="module")
def cells(history):
    matrix = status(history.path, [fix.name for fix in history.fixes], branches=["rel-*"])
    return {(column.fix.name, cell.branch.name): cell for column in matrix.columns for cell in column.cells}


def test_what_status_says_is_true(history, cells):
    wrong = {
        (history.story[key], cell.state.value): [one.text for one in cell.evidence]
        for key, cell in cells.items()
        if cell.state.value != history.truth[key]
        and not (history.truth[key] in {MISSING, PARTLY} and cell.state.value in GONE)
    }
    assert len(cells) == 18 * 4
    assert wrong == {}
    states = Counter(cell.state.value for cell in cells.values())
    assert {"present", "missing, applies", "missing, conflicts", REVERTED} <= set(states), states


def test_pick_does_what_status_says(history, cells):
    """On every branch, each time into a branch of its own, so that the answers stay what they were."""
    said = {
        "present": "already there",
        "missing, applies": "picked",
        "missing, conflicts": "conflict",
        "partly": "conflict",
    }
    for fix in history.fixes[::2]:
        onto = sorted(branch for name, branch in cells if name == fix.name)
        done = picks(history.path, [fix.name], onto=onto)
        assert done.failed == ()
        for one in done.picks:
            cell = cells[fix.name, one.branch]
            expected = said.get(cell.state.value, one.outcome.value)
            assert one.outcome.value == expected, (history.story[fix.name, one.branch], cell)
            if one.stop is not None:
                abort_pick(history.path, one.target)


def test_pick_of_a_merge_as_one_does_what_status_says(history, cells):
    """``pick M --mainline 1`` finds what ``status M`` finds, also where the merge itself would conflict."""
    merges = [fix.name for fix in history.fixes if fix.kind == "merge"]
    for name in merges:
        onto = sorted(branch for fix, branch in cells if fix == name)
        done = picks(history.path, [name], onto=onto, mainline=1)
        assert done.failed == ()
        for one in done.picks:
            there = cells[name, one.branch].state.value == "present"
            # Into another branch it may have been picked by the test before.
            found = one.outcome.value == "already there" and one.target == one.branch
            assert found == there, (history.story[name, one.branch], one)
            if one.stop is not None:
                abort_pick(history.path, one.target)
