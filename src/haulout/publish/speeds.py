"""Whether fetching frames is quicker than compressing them, from what both have cost so far. Pure."""

from __future__ import annotations

from typing import Final

PROBE_BYTES: Final = 1 << 20
PROBES: Final = 24
"""Bytes, or requests, after which the network's speed is believed to be known."""

_AT_ONCE: Final = 4
"""Requests under way while it is not."""
_LOOK_AGAIN: Final = 64
"""Requests not made before one is, to see whether the network has become quicker."""

_GUESS: Final = 50e6
"""Plain bytes one thread compresses in a second, until that has been measured."""


class Speeds:
    """What is known so far.

    Args:
        ratio: plain bytes for each byte of the blob.
        jobs: threads that compress.
    """

    def __init__(self, ratio: float, jobs: int) -> None:
        self._ratio = ratio
        self._jobs = jobs
        self._fetched = 0
        self._fetching = 0.0
        self._done = 0
        self._under_way = 0
        self._since = 0.0
        self._refused = 0
        self._plain = 0
        self._seconds = 0.0

    def begin(self, now: float) -> None:
        """A request begins."""
        if not self._under_way:
            self._since = now
        self._under_way += 1

    def end(self, now: float, amount: int) -> None:
        """A request has brought ``amount`` bytes. Requests under way at once share the time."""
        self._under_way -= 1
        self._done += 1
        self._fetched += amount
        self._fetching += now - self._since
        self._since = now

    def compressed(self, size: int, seconds: float) -> None:
        """A thread compressed ``size`` plain bytes in ``seconds``."""
        self._plain += size
        self._seconds += seconds

    def compressing(self, stored: int) -> float:
        """Return the seconds that one thread needs to compress what is ``stored`` bytes in the blob."""
        return stored * self._ratio * (self._seconds / self._plain if self._plain and self._seconds else 1 / _GUESS)

    def fetching_pays(self, waiting: int) -> bool:
        """Whether to make one more request while ``waiting`` others are still to begin."""
        if self._fetched < PROBE_BYTES and self._done < PROBES:
            return self._under_way + waiting < _AT_ONCE
        pays = self._fetching / max(1, self._fetched) <= self.compressing(1) / self._jobs
        self._refused = 0 if pays else self._refused + 1
        return pays or self._refused % _LOOK_AGAIN == 0
