"""How evidence is weighed."""

from __future__ import annotations

import pytest

from haulout.backports.model import Content, State
from haulout.backports.verdict import Facts, best, joined, judged


def fact(
    content: Content,
    *,
    own: Content | None = None,
    standing: bool = False,
    undone: bool = False,
    introduced: bool = True,
) -> Facts:
    return Facts(content, own, standing, undone, introduced)


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
        (fact(Content.APPLIES, own=Content.APPLIES, standing=True), State.REVERTED),
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
