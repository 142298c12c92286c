"""Fetching in the background: what some evidence lacked, and what its vendor renews. :class:`Schedule` is pure."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import TYPE_CHECKING, Final

from haulout.broker.operations.limits import Bucket, Limit
from haulout.errors import HauloutError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from haulout.broker.operations.collateral.cache import Entry
    from haulout.tee import Publication

RATE: Final = Limit(burst=10, per_second=0.5)
"""Requests to vendors. Evidence is not verified before its certificate is here: strangers choose what is asked for."""
MOST_WANTED: Final = 1000
SCAN_SECONDS: Final = 900.0
_DAY: Final = 86_400.0
_FIRST_PAUSE: Final = 30.0
_LONGEST_PAUSE: Final = 6 * 3600.0
_ABSENT_PAUSE: Final = 3600.0
_DONE_PAUSE: Final = 10.0

_LOG: Final = logging.getLogger("haulout.broker.collateral")


def is_due(entry: Entry, now: datetime) -> bool:
    """Return whether something kept is to be fetched again: once a day, and at once where it does not hold."""
    if entry.publication is None or not entry.publication.address:
        return False
    return entry.span is None or (entry.publication.renewed and (now - entry.fetched).total_seconds() >= _DAY)


@dataclass(slots=True)
class Schedule:
    """What to fetch next, and when. Times are seconds of a clock that only goes forward."""

    limit: Limit = RATE
    _wanted: OrderedDict[str, Publication] = field(default_factory=OrderedDict)
    _pauses: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By name: failures in a row, and until when to leave it."""
    _bucket: Bucket | None = None
    _fetching: str = ""

    def want(self, publication: Publication, now: float) -> float:
        """Ask for something.

        Returns:
            the seconds after which it may be there, as a guess for Retry-After.
        """
        _, until = self._pauses.get(publication.name, (0, 0.0))
        if until > now:
            return until - now
        if publication.address and publication.name != self._fetching and len(self._wanted) < MOST_WANTED:
            self._wanted.setdefault(publication.name, publication)
        return 1 + len(self._wanted) / self.limit.per_second

    def next(self, now: float) -> tuple[Publication | None, float]:
        """Return what to fetch now, if anything, and else the seconds to wait, infinite where nothing is wanted."""
        if not self._wanted:
            return None, float("inf")
        bucket = self._bucket or Bucket(self.limit.burst, now)
        self._bucket, wait = bucket.take(self.limit, now)
        if wait:
            return None, wait
        self._fetching, publication = self._wanted.popitem(last=False)
        return publication, 0.0

    def succeeded(self, publication: Publication, now: float) -> None:
        """Forget its failures; whoever found it missing a moment ago need not have it fetched again."""
        self._fetching = ""
        self._pause(publication, 0, now + _DONE_PAUSE)

    def failed(self, publication: Publication, now: float, *, absent: bool, jitter: float) -> float:
        """Leave it for a while: twice as long each time, an hour where the vendor does not have it.

        Args:
            publication: what could not be fetched.
            now: the time.
            absent: whether the vendor said so.
            jitter: 0 to 1, so that many brokers do not come back at once.

        Returns:
            the pause in seconds.
        """
        failures = self._pauses.get(publication.name, (0, 0.0))[0] + 1
        pause = _ABSENT_PAUSE if absent else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 20))
        pause *= 0.75 + jitter / 2
        self._fetching = ""
        self._pause(publication, failures, now + pause)
        return pause

    def _pause(self, publication: Publication, failures: int, until: float) -> None:
        self._pauses.pop(publication.name, None)
        while len(self._pauses) >= MOST_WANTED:
            del self._pauses[next(iter(self._pauses))]
        self._pauses[publication.name] = failures, until


class Refresher:
    """A thread that fetches. Start it after forking, and close it.

    Args:
        fetch: fetches and keeps one publication; raises HauloutError.
        scan: returns what is kept and renewed.
        clock: the time with a time zone.
        monotonic: seconds.
        limit: requests to vendors.
    """

    def __init__(
        self,
        fetch: Callable[[Publication], object],
        scan: Callable[[], Iterable[Entry]],
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        limit: Limit = RATE,
    ) -> None:
        self._fetch, self._scan, self._clock, self._monotonic = fetch, scan, clock, monotonic
        self._schedule = Schedule(limit)
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._run, name="collateral", daemon=True)
        self.entries: tuple[Entry, ...] = ()
        """What is kept and renewed, as of the last scan: for metrics."""
        self.failures = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; a fetch that is under way is left alone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def want(self, publications: Iterable[Publication]) -> float:
        """Ask for what some evidence lacked; return the seconds after which all of it may be there."""
        with self._changed:
            waits = [self._schedule.want(one, self._monotonic()) for one in publications]
            self._changed.notify_all()
        return max(waits, default=0.0)

    def _run(self) -> None:
        scanned = float("-inf")
        while not self._closed:
            if self._monotonic() - scanned >= SCAN_SECONDS:
                scanned = self._monotonic()
                self._look()
            with self._changed:
                publication, wait = self._schedule.next(self._monotonic())
                if publication is None and not self._closed:
                    self._changed.wait(min(wait, SCAN_SECONDS - (self._monotonic() - scanned)))
            if publication is not None:
                self._get(publication)

    def _look(self) -> None:
        try:
            self.entries = tuple(self._scan())
        except (HauloutError, OSError) as exc:
            _LOG.warning("the cache cannot be read", extra={"reason": str(exc)})
        self.want(one.publication for one in self.entries if one.publication and is_due(one, self._clock()))

    def _get(self, publication: Publication) -> None:
        facts = {"publication": publication.name}
        try:
            self._fetch(publication)
        except (HauloutError, OSError) as exc:
            self.failures += 1
            with self._changed:
                pause = self._schedule.failed(
                    publication,
                    self._monotonic(),
                    absent=isinstance(exc, NotFoundError),
                    jitter=random.random(),  # noqa: S311 - it spreads load
                )
            _LOG.warning("fetch failed", extra={**facts, "reason": str(exc), "pause_seconds": round(pause)})
        else:
            with self._changed:
                self._schedule.succeeded(publication, self._monotonic())
            _LOG.info("fetched", extra=facts)
