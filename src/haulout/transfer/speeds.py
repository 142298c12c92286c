"""Whether fetching frames is quicker than compressing them, from what both have cost so far. Pure."""

from __future__ import annotations

from typing import Final

PROBES: Final = 2
"""Pieces fetched before the network's speed is believed to be known."""

_GUESS: Final = 50e6
"""Plain bytes one thread compresses in a second, until that has been measured."""
_LEAST_SHARE: Final = 0.1
_SETTLED: Final = 12
"""Pieces after which the share that was of use is believed."""


class Speeds:
    """What is known so far.

    Args:
        ratio: plain bytes for each byte of the blob.
        jobs: threads that compress.
    """

    def __init__(self, ratio: float, jobs: int) -> None:
        self._ratio = ratio
        self._jobs = jobs
        self.used = 0
        """Bytes that were of use among those fetched."""
        self._fetched = 0
        self._fetching = 0.0
        self._done = 0
        self._under_way = 0
        self._since = 0.0
        self._plain = 0
        self._seconds = 0.0

    def begin(self, now: float) -> None:
        """Fetching a piece begins."""
        if not self._under_way:
            self._since = now
        self._under_way += 1

    def end(self, now: float, amount: int) -> None:
        """A piece of ``amount`` bytes is here. Pieces on their way at once share the time."""
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
        """Whether to fetch one more piece while ``waiting`` others are still to be begun."""
        if self._done < PROBES:
            return self._done + self._under_way + waiting < PROBES
        share = max(_LEAST_SHARE, self.used / self._fetched) if self._done >= _SETTLED else 1.0
        return self._fetching / self._fetched <= share * self.compressing(1) / self._jobs
