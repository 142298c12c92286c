"""Whether and when it is tried again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.http.attempts import LONGEST_BACKOFF, wait_before_next
from haulout.http.messages import parse_retry_after


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, None])
def test_what_may_pass_is_tried_again(status):
    assert wait_before_next(1, 5, status=status) is not None
    assert wait_before_next(5, 5, status=status) is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 416, 501])
def test_nothing_else_is(status):
    assert wait_before_next(1, 5, status=status) is None


@given(st.integers(1, 50), st.floats(0, 0.999), st.one_of(st.none(), st.floats(0, 60)))
def test_waits_are_bounded_and_never_shorter_than_asked(failures, jitter, asked):
    wait = wait_before_next(failures, 99, status=503, retry_after=asked, jitter=jitter)

    assert wait is not None
    assert (asked or 0) <= wait <= max(1.5 * LONGEST_BACKOFF, (asked or 0) + 0.25)


def test_a_server_that_asks_for_too_long_is_given_up():
    assert wait_before_next(1, 5, status=429, retry_after=3600) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:20:00 GMT", 0.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("Wed, 99 Oct 2026 07:28:30 GMT", None),
    ],
)
def test_retry_after_is_read(text, seconds):
    assert parse_retry_after(text, datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)) == seconds


@given(st.text(max_size=60))
def test_any_retry_after_is_borne(text):
    found = parse_retry_after(text)
    assert found is None or found >= 0
