"""Token buckets: never more than burst and rate allow, never less in the long run, never more memory than allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.broker.operations.limits import Bucket, Limit, Limiter


def test_a_burst_passes_and_the_next_one_is_told_when_to_come_back():
    limiter = Limiter(Limit(burst=3, per_second=0.5))
    assert [limiter.take("a", 100.0) for _ in range(4)] == [0, 0, 0, 2.0]
    assert limiter.take("b", 100.0) == 0
    assert limiter.take("a", 101.0) == 1.0
    assert limiter.take("a", 102.0) == 0
    assert limiter.take("a", 102.0) == 2.0


@given(st.floats(1, 20), st.floats(0.01, 100), st.lists(st.floats(0, 10), min_size=1, max_size=60), st.floats(0, 1e9))
def test_no_more_pass_than_burst_and_rate_allow_and_whoever_waits_passes(burst, rate, pauses, now):
    limit = Limit(burst, rate)
    bucket, start, passed = Bucket(burst, now), now, 0
    for pause in pauses:
        now += pause
        bucket, wait = bucket.take(limit, now)
        passed += not wait
        assert passed <= burst + (now - start) * rate + 1e-3
        if wait:
            later, again = bucket.take(limit, now + wait * 1.001 + 1e-5)
            assert again == 0 or again < 1e-3
            assert later.left >= -1e-6


@given(st.lists(st.floats(-100, 100), max_size=20))
def test_a_clock_that_goes_back_gives_nothing_away(steps):
    limit, bucket, now, passed = Limit(2, 0.001), Bucket(2, 0.0), 0.0, 0
    for step in [0.0, *steps]:
        now = abs(step)
        bucket, wait = bucket.take(limit, now)
        passed += not wait
    assert passed <= 2 + 1


def test_the_table_is_bounded_and_forgets_who_has_been_away_longest():
    limiter = Limiter(Limit(1, 0.001), most=2)
    assert [limiter.take(key, 0.0) for key in "abab"][:2] == [0, 0]
    limiter.take("a", 1.0)
    limiter.take("c", 1.0)
    assert len(limiter) == 2
    assert limiter.take("a", 1.0) > 0
    assert limiter.take("b", 1.0) == 0


@pytest.mark.parametrize(("burst", "rate"), [(0, 1), (1, 0), (1, -1)])
def test_a_limit_lets_something_pass(burst, rate):
    with pytest.raises(ValueError, match="at least one"):
        Limit(burst, rate)
