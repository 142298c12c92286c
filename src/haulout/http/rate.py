"""A limit on how fast a command transfers, shared by all its connections."""

from __future__ import annotations

import time
from threading import Lock


class RateLimit:
    """Holds transfers back to a number of bytes per second; give it to ``HttpOptions.on_bytes``.

    All threads and connections that call one limit share its rate. Nothing is saved up while nothing is transferred.

    Args:
        rate: bytes per second, more than 0.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._lock = Lock()
        self._free = 0.0
        """When everything so far has been carried at this rate, on the monotonic clock."""

    def __call__(self, amount: int) -> None:
        """Wait until ``amount`` more bytes may have passed."""
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now) + amount / self.rate
            wait = self._free - now
        if wait > 0:
            time.sleep(wait)
