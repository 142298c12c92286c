"""The limit on how fast a command transfers."""

from __future__ import annotations

import pytest

from haulout.http import RateLimit, rate


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(rate, "time", made)
    return made


def test_bytes_pass_at_the_rate(clock):
    limit = RateLimit(1000)
    for _ in range(10):
        limit(500)
    assert clock.now == 1005.0


def test_nothing_is_saved_up_while_nothing_is_transferred(clock):
    limit = RateLimit(1000)
    limit(500)
    clock.now += 3600
    limit(500)
    assert clock.slept == [0.5, 0.5]


def test_threads_share_the_rate(clock):
    limit = RateLimit(1000)
    # The second comes before the first has waited.
    clock.sleep = clock.slept.append
    limit(1000)
    limit(1000)
    assert clock.slept == [1.0, 2.0]
