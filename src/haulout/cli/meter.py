"""How far a piece of work is, how fast it goes and how long it will take. Pure: time comes from the caller."""

from __future__ import annotations

from collections import deque
from typing import Final

_HORIZON: Final = 10.0
"""Seconds of the past that count for the rate: long enough to be calm, short enough to see a stall."""
_GRAIN: Final = 0.25
"""Least seconds between two samples."""
_MOMENT: Final = 0.2
"""Seconds before which a rate would be noise."""


class Meter:
    """Counts the units of one task; times are seconds of a monotonic clock."""

    def __init__(self, name: str, total: int | None, unit: str, done: int, now: float) -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.done = self._first = self._bounded(done)
        self.started = now
        self._samples: deque[tuple[float, int]] = deque([(now, self.done)])

    def advance(self, amount: int) -> None:
        """Count ``amount`` more units, never more than there are: what is sent or read again is no progress."""
        self.done = self._bounded(self.done + amount)

    def _bounded(self, done: int) -> int:
        return done if self.total is None else min(done, self.total)

    def sample(self, now: float) -> None:
        """Remember how far the work is; call it regularly, also when nothing moves."""
        if now - self._samples[-1][0] >= _GRAIN:
            self._samples.append((now, self.done))
        while len(self._samples) > 1 and now - self._samples[1][0] >= _HORIZON:
            self._samples.popleft()

    def rate(self, now: float) -> float | None:
        """Return units per second over the recent past; None until there is one."""
        since, then = self._samples[0]
        return (self.done - then) / (now - since) if now - since >= _MOMENT else None

    def left(self, now: float) -> float | None:
        """Return the seconds left at the present rate; None where unknown."""
        rate = self.rate(now)
        if self.total is None or not rate or rate < 0:
            return None
        return max(0, self.total - self.done) / rate

    def average(self, now: float) -> float | None:
        """Return units per second since the start; what was there already does not count."""
        return (self.done - self._first) / (now - self.started) if now - self.started >= _MOMENT else None
