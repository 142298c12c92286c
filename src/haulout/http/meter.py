"""Counts what crosses the wire, from any thread."""

from __future__ import annotations

from threading import Lock

from haulout.progress import Traffic


class Meter:
    """Counters of one repository."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests = self._received = self._sent = 0

    def add(self, *, requests: int = 0, received: int = 0, sent: int = 0) -> None:
        """Count requests and body bytes."""
        with self._lock:
            self._requests += requests
            self._received += received
            self._sent += sent

    @property
    def traffic(self) -> Traffic:
        """The sums so far."""
        with self._lock:
            return Traffic(self._requests, self._received, self._sent)
