"""How many requests somebody may make: token buckets, pure, and a bounded table of them.

The table is this process's own: docs/adr/0083-operating-a-broker.md says why that is enough.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Final, Self

from haulout.errors import UsageError

_MOST_RATE: Final = 1e9
MOST_BUCKETS: Final = 100_000
"""Buckets kept, about 30 MB; the one unused for the longest time makes room, and is full again when it comes back."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests at once, and so many a second in the long run."""

    burst: float
    per_second: float

    def __post_init__(self) -> None:
        if self.burst < 1 or self.per_second <= 0:
            raise ValueError("a limit lets at least one request pass, and more after a while")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``BURST/PER-SECOND``.

        Raises:
            UsageError: it is not a limit.
        """
        parts = text.split("/")
        try:
            burst, rate = map(float, parts)
            if max(burst, rate) > _MOST_RATE:
                raise ValueError(text)  # noqa: TRY301 - one answer for whatever is wrong
            return cls(burst, rate)
        except ValueError as exc:
            hint = "write BURST/PER-SECOND, such as 300/30: so many at once, and so many a second in the long run"
            raise UsageError(f"{text[:40]!r} is not a limit", hint=hint) from exc


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket: what was left, and when that was. Times are seconds of any clock that only goes forward."""

    left: float
    at: float

    def take(self, limit: Limit, now: float) -> tuple[Bucket, float]:
        """Take one token.

        Returns:
            the bucket afterwards, and the seconds to wait: 0 where there was a token. Nothing is taken otherwise, so
            that a client that keeps asking is served at the rate allowed.
        """
        left = min(limit.burst, self.left + max(0.0, now - self.at) * limit.per_second)
        if left >= 1:
            return Bucket(left - 1, now), 0.0
        return Bucket(left, now), (1 - left) / limit.per_second


class Limiter:
    """A bucket for each client, workload or owner. Safe to use from several threads.

    Args:
        limit: of each.
        most: buckets kept.
    """

    def __init__(self, limit: Limit, most: int = MOST_BUCKETS) -> None:
        self.limit = limit
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._lock = Lock()

    def take(self, key: str, now: float) -> float:
        """Take one token of a key's; return the seconds to wait, 0 where it may pass."""
        with self._lock:
            bucket = self._buckets.pop(key, None) or Bucket(self.limit.burst, now)
            self._buckets[key], wait = bucket.take(self.limit, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
            return wait

    def __len__(self) -> int:
        return len(self._buckets)
