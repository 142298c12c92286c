"""The progress port: how long work reports itself, without knowing who watches.

Work calls ``Progress.task``; the command line draws bars, prints plain lines or JSON lines, tests record.
Implementations must accept calls from any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self


class Task(Protocol):
    """One piece of work under way. Leaving the ``with`` block ends it."""

    def advance(self, amount: int) -> None:
        """Add ``amount`` units (bytes, unless the task said otherwise)."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Progress(Protocol):
    """Receives the story of long work."""

    def task(self, name: str, total: int | None, *, unit: str = "B", done: int = 0) -> Task:
        """Begin a task of ``total`` units (None: unknown), of which ``done`` are there already.

        One without a name is a wait that moves nothing: not to be shown, but to be cancelled.
        """

    def note(self, message: str) -> None:
        """Say one line worth a person's attention, such as a warning or a fallback taken."""


class _NullTask:
    def advance(self, amount: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class NullProgress:
    """Watches nothing."""

    def task(self, name: str, total: int | None, *, unit: str = "B", done: int = 0) -> Task:  # noqa: ARG002
        """Return a task that ignores everything."""
        return _NullTask()

    def note(self, message: str) -> None:
        """Ignore the message."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What has crossed the wire so far, counted in one place for ``--json`` and the benchmarks."""

    requests: int = 0
    """HTTP requests sent, retries and redirects included; 0 for places that are not reached over HTTP."""
    received: int = 0
    """Body bytes received."""
    sent: int = 0
    """Body bytes sent."""

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.requests + other.requests, self.received + other.received, self.sent + other.sent)


@dataclass(frozen=True, slots=True)
class BlobTotal:
    """Several blobs."""

    count: int
    size: int
    """Bytes of all of them."""
