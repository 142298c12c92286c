"""Ends operations that a drip-feeding server would keep alive for ever.

A socket timeout bounds the silence between two bytes, not the time for a header or a block: one byte every 29 seconds
never times out. One thread per pool of connections holds the deadlines of all operations under way and shuts down the
sockets of those that overrun.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Condition, Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TICK: Final = 0.25
_IDLE_TICKS: Final = 8


@dataclass(slots=True, eq=False)
class Limit:
    """One operation under way."""

    deadline: float
    stop: Callable[[], object]
    expired: bool = False


class Deadlines:
    """Holds the deadlines of operations under way. Close it when done."""

    def __init__(self) -> None:
        self._wake = Condition()
        self._limits: set[Limit] = set()
        self._thread: Thread | None = None
        self._closed = False
        self._asleep = False

    @contextmanager
    def limit(self, seconds: float, stop: Callable[[], object]) -> Iterator[Limit]:
        """Call ``stop`` from another thread where the block takes longer than ``seconds``.

        ``stop`` must be safe to call at any moment, and make the block fail.
        """
        limit = Limit(time.monotonic() + seconds, stop)
        with self._wake:
            if self._thread is None and not self._closed:
                self._thread = Thread(target=self._watch, name="haulout-deadlines", daemon=True)
                self._thread.start()
            self._limits.add(limit)
            if self._asleep:
                self._wake.notify()
        try:
            yield limit
        finally:
            with self._wake:
                self._limits.discard(limit)

    def close(self) -> None:
        """End the thread."""
        with self._wake:
            self._closed = True
            thread, self._thread = self._thread, None
            self._wake.notify()
        if thread is not None:
            thread.join()

    def _watch(self) -> None:
        idle_ticks = 0
        while True:
            with self._wake:
                if self._closed:
                    return
                # Waking a sleeping thread costs each request more than a few idle ticks cost in all.
                idle_ticks = 0 if self._limits else idle_ticks + 1
                self._asleep = idle_ticks > _IDLE_TICKS
                self._wake.wait(None if self._asleep else _TICK)
                self._asleep = False
                now = time.monotonic()
                overdue = [limit for limit in self._limits if limit.deadline <= now and not limit.expired]
                for limit in overdue:
                    # Under the lock, so that an operation that just ended is not shot in the back: its socket may
                    # already serve another.
                    limit.expired = True
                    with suppress(OSError, ValueError, RuntimeError):
                        limit.stop()
