"""How evidence is weighed."""

from __future__ import annotations

import pytest

from haulout.backports.model import Content, State
from haulout.backports.verdict import Facts, best, joined, judged, settled


def fact(
    content: Content,
    *,
    own: Content | None = None,
    standing: bool = False,
    undone: bool = False,
    introduced: bool = True,
    **more: bool,
) -> Facts:
    return Facts(content, own, standing, undone, introduced, **more)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (fact(Content.SAME), State.PRESENT),
        (fact(Content.SAME, undone=True), State.PRESENT),
        (fact(Content.APPLIES), State.APPLIES),
        (fact(Content.CONFLICTS), State.CONFLICTS),
        (fact(Content.ABSENT), State.NOT_AFFECTED),
        (fact(Content.UNKNOWN), State.UNKNOWN),
        (fact(Content.CONFLICTS, own=Content.CONFLICTS, standing=True), State.PRESENT),
        (fact(Content.APPLIES, own=Content.CONFLICTS, standing=True), State.PRESENT),
        (fact(Content.APPLIES, own=Content.APPLIES, standing=True), State.UNKNOWN),
        (fact(Content.APPLIES, own=Content.APPLIES, standing=True, kept=True), State.PRESENT),
        (fact(Content.APPLIES, own=Content.APPLIES, standing=True, opposed=True), State.REVERTED),
        (fact(Content.CONFLICTS, part=True), State.PARTLY),
        (fact(Content.APPLIES, part=True), State.APPLIES),
        (fact(Content.SAME, part=True), State.PRESENT),
        (fact(Content.UNKNOWN, standing=True), State.PRESENT),
        (fact(Content.APPLIES, own=Content.APPLIES, undone=True), State.REVERTED),
        (fact(Content.CONFLICTS, own=Content.CONFLICTS, undone=True), State.REVERTED),
        (fact(Content.ABSENT, undone=True), State.NOT_AFFECTED),
        (fact(Content.APPLIES, introduced=False), State.NOT_AFFECTED),
    ],
)
def test_content_is_truth_and_history_where_content_cannot_tell(facts, state):
    assert judged(facts) is state


def test_one_form_that_is_there_is_enough():
    assert best([Content.CONFLICTS, Content.SAME, Content.APPLIES]) is Content.SAME
    assert best([Content.ABSENT, Content.CONFLICTS]) is Content.CONFLICTS
    assert best([]) is Content.UNKNOWN


P, R, M, X, N, U = State.PRESENT, State.REVERTED, State.APPLIES, State.CONFLICTS, State.NOT_AFFECTED, State.UNKNOWN


@pytest.mark.parametrize("merge", [State.PRESENT, State.REVERTED, State.UNKNOWN])
def test_a_merge_that_was_picked_as_one_answers_for_its_commits(merge):
    assert joined(Content.CONFLICTS, [State.CONFLICTS, State.APPLIES], merge) is merge


@pytest.mark.parametrize(
    ("state", "clean", "changed", "part", "expected"),
    [
        (State.APPLIES, True, True, False, State.APPLIES),
        (State.APPLIES, True, False, False, State.PRESENT),
        (State.APPLIES, False, False, False, State.CONFLICTS),
        (State.CONFLICTS, True, True, True, State.APPLIES),
        (State.CONFLICTS, False, False, True, State.PARTLY),
        (State.APPLIES, None, False, False, State.UNKNOWN),
    ],
)
def test_what_a_pick_comes_to_settles_it(state, clean, changed, part, expected):
    assert settled(state, clean=clean, changed=changed, part=part) is expected


@pytest.mark.parametrize(
    ("whole", "units", "state"),
    [
        (None, [M], M),
        (Content.SAME, [X, P], P),
        (Content.APPLIES, [M, X], M),
        (Content.CONFLICTS, [M, X], X),
        (Content.APPLIES, [P, M], M),
        (None, [P, P], P),
        (None, [P, N], P),
        (None, [N, N], N),
        (Content.CONFLICTS, [P, R], R),
        (None, [P, U], U),
        (Content.SAME, [N, M], M),
    ],
)
def test_a_series_is_asked_as_a_whole_first(whole, units, state):
    assert joined(whole, units) is state
