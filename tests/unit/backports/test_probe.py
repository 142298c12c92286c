"""Questions that ids alone answer, and how files are summed up."""

from __future__ import annotations

import pytest

from haulout.backports.model import Content
from haulout.backports.probe import Answer, Question, compare, summed
from haulout.backports.trees import GITLINK, SYMLINK, Entry

A, B, C = Entry("100644", "a" * 40), Entry("100644", "b" * 40), Entry("100644", "c" * 40)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ((A, A, B), Answer.CHANGED),
        ((A, B, B), Answer.SAME),
        ((A, C, B), None),
        ((None, None, B), Answer.CREATED),
        ((None, B, B), Answer.SAME),
        ((None, C, B), Answer.CONFLICT),
        ((A, None, B), Answer.ABSENT),
        ((A, None, None), Answer.ABSENT),
        ((A, A, None), Answer.CHANGED),
        ((A, C, None), Answer.CONFLICT),
        ((A, Entry(SYMLINK, "c" * 40), B), Answer.CONFLICT),
        ((Entry(GITLINK, "a" * 40), Entry(GITLINK, "c" * 40), Entry(GITLINK, "b" * 40)), Answer.CONFLICT),
    ],
)
def test_ids_alone_answer_most_questions(question, answer):
    assert compare(Question(*question)) is answer


@pytest.mark.parametrize(
    ("answers", "content"),
    [
        ({"a.go": Answer.SAME}, Content.SAME),
        ({"a.go": Answer.SAME, "a_test.go": Answer.CONFLICT}, Content.SAME),
        ({"a.go": Answer.SAME, "b.go": Answer.ABSENT}, Content.SAME),
        ({"a.go": Answer.SAME, "b.go": Answer.CHANGED}, Content.APPLIES),
        ({"a.go": Answer.CHANGED, "a_test.go": Answer.CONFLICT}, Content.CONFLICTS),
        ({"a.go": Answer.CHANGED, "b.go": Answer.ABSENT}, Content.APPLIES),
        ({"a.go": Answer.ABSENT, "a_test.go": Answer.CREATED}, Content.ABSENT),
        ({"a.go": Answer.CREATED}, Content.APPLIES),
        ({"README.md": Answer.SAME}, Content.SAME),
        ({"README.md": Answer.CONFLICT}, Content.CONFLICTS),
        ({"a.go": Answer.CONFLICT, "b.go": Answer.UNKNOWN}, Content.UNKNOWN),
    ],
)
def test_files_are_summed_up(answers, content):
    assert summed(answers) is content
