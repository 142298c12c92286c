"""Calls on a thread of their own."""

from __future__ import annotations

import pytest

from haulout.fetch import BackgroundCall


def test_a_call_begins_at_once_or_when_it_is_begun_and_never_twice():
    calls = []
    BackgroundCall(lambda: calls.append("at once"), "one").wait()
    later = BackgroundCall(lambda: calls.append("later"), "two", begin=False)
    later.wait()
    assert calls == ["at once"]
    later.begin()
    later.begin()
    assert later.result() is None
    assert calls == ["at once", "later"]


def test_a_result_begins_what_was_not_begun():
    assert BackgroundCall(lambda: 5, "five", begin=False).result() == 5


def test_a_failure_is_raised_where_the_result_is_asked_for():
    call = BackgroundCall(lambda: int("none"), "none")
    call.wait()
    with pytest.raises(ValueError, match="none"):
        call.result()
