"""Progress for people without a terminal and for programs: plain lines, JSON lines, notes alone.

Work only adds numbers under a lock; a thread of this module looks at them from time to time and writes. So reporting
costs the work nothing, and a stalled transfer is seen to stall.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from haulout.cli.meter import Meter
from haulout.cli.terminal import duration, neutral, quantity
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.progress import Progress

PLAIN_SECONDS: Final = 3.0
"""Between two plain lines of one task, and before the first."""
JSON_SECONDS: Final = 0.5


class Silence(NullProgress):
    """Says nothing at all."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class Watched:
    """A task under way; its meter is read by the reporter's thread."""

    def __init__(self, reporter: Reporter, number: int, meter: Meter) -> None:
        self.number = number
        self.meter = meter
        self._reporter = reporter
        self._lock = threading.Lock()

    def advance(self, amount: int) -> None:
        """Add units, from any thread."""
        with self._lock:
            self.meter.advance(amount)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._reporter.end(self, complete=not exc or exc[0] is None)


class Reporter:
    """Keeps the tasks under way and looks at them every ``interval`` seconds; subclasses say how that is written.

    Use it in a ``with`` block: leaving it ends the thread. Where the stream was closed, it
    writes nothing more, and the work continues.
    """

    interval: float | None = None
    """Seconds between two looks; None: no thread at all."""

    def __init__(self, err: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._err = err
        self._clock = clock
        self._lock = threading.RLock()
        self._live: dict[int, Watched] = {}
        self._begun = 0
        self._noted: set[str] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def task(self, name: str, total: int | None, *, unit: str = "B", done: int = 0) -> Watched:
        """Begin to watch a task."""
        with self._lock:
            self._begun += 1
            watched = Watched(self, self._begun, Meter(neutral(name), total, unit, done, self._clock()))
            if not name:
                return watched
            self._live[watched.number] = watched
            self.began(watched)
            if self.interval is not None and self._thread is None:
                self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
                self._thread.start()
        return watched

    def note(self, message: str) -> None:
        """Say a line, once: many requests may meet with the same warning."""
        with self._lock:
            if message not in self._noted:
                self._noted.add(message)
                self.noted(neutral(message))

    def end(self, watched: Watched, *, complete: bool) -> None:
        """Stop watching a task."""
        with self._lock:
            if self._live.pop(watched.number, None) is not None:
                self.ended(watched, self._clock(), complete=complete)

    def look(self) -> None:
        """Take samples and report every live task."""
        with self._lock:
            now = self._clock()
            for watched in self._live.values():
                watched.meter.sample(now)
                self.moved(watched, now)

    def began(self, watched: Watched) -> None:
        """Report a beginning."""

    def moved(self, watched: Watched, now: float) -> None:
        """Report how far a task is."""

    def ended(self, watched: Watched, now: float, *, complete: bool) -> None:
        """Report an end."""

    def noted(self, message: str) -> None:
        """Report a note."""
        self.write(message)

    def write(self, line: str) -> None:
        """Write a line, unless the stream is closed."""
        try:
            self._err.write(f"{line}\n")
            self._err.flush()
        except (OSError, ValueError):
            self._stop.set()

    def close(self) -> None:
        """End the thread; a task still open is forgotten."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _tick(self) -> None:
        while not self._stop.wait(self.interval):
            self.look()


class NotesOnly(Reporter):
    """``--progress none``: warnings and fallbacks, no figures."""


class PlainLines(Reporter):
    """``--progress plain``: a line per task every few seconds; tasks shorter than that pass without a word."""

    interval = 0.5

    def __init__(self, err: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(err, clock=clock)
        self._spoke: dict[int, float] = {}

    def moved(self, watched: Watched, now: float) -> None:
        """Write a line where the last one is long enough ago."""
        if now - self._spoke.get(watched.number, watched.meter.started) >= PLAIN_SECONDS:
            self._spoke[watched.number] = now
            self.write(f"{watched.meter.name}: {figures(watched.meter, now)}")

    def ended(self, watched: Watched, now: float, *, complete: bool) -> None:
        """Close a story that was begun."""
        if self._spoke.pop(watched.number, None) is None:
            return
        meter = watched.meter
        average = meter.average(now)
        pace = f", {quantity(average, meter.unit)}/s" if average else ""
        how = "done" if complete else "stopped"
        self.write(f"{meter.name}: {how}, {quantity(meter.done, meter.unit)} in {duration(now - meter.started)}{pace}")


class JsonLines(Reporter):
    """``--progress json``: one JSON object per line, as docs/json.md describes."""

    interval = JSON_SECONDS

    def __init__(self, err: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(err, clock=clock)
        self._told: dict[int, int] = {}

    def began(self, watched: Watched) -> None:
        """Write ``begin``."""
        meter = watched.meter
        self._told[watched.number] = meter.done
        self._event("begin", task=watched.number, name=meter.name, unit=meter.unit, done=meter.done, total=meter.total)

    def moved(self, watched: Watched, now: float) -> None:
        """Write ``progress``, where anything moved."""
        meter = watched.meter
        if self._told[watched.number] == meter.done:
            return
        self._told[watched.number] = meter.done
        rate, left = meter.rate(now), meter.left(now)
        self._event(
            "progress",
            task=watched.number,
            done=meter.done,
            total=meter.total,
            rate=None if rate is None else round(rate),
            seconds_left=None if left is None else round(left, 1),
        )

    def ended(self, watched: Watched, now: float, *, complete: bool) -> None:
        """Write ``end``."""
        self._told.pop(watched.number)
        meter = watched.meter
        seconds = round(now - meter.started, 3)
        self._event("end", task=watched.number, done=meter.done, seconds=seconds, complete=complete)

    def noted(self, message: str) -> None:
        """Write ``note``."""
        self._event("note", message=message)

    def _event(self, event: str, **members: Any) -> None:
        self.write(json.dumps({"event": event, **members}))


def figures(meter: Meter, now: float, *, brief: bool = False) -> str:
    """Return ``120 MiB of 203 MiB (59 %), 95 MiB/s, 0.9 s left`` as far as known; briefly ``59 %, 0.9 s left``."""
    if brief and meter.total and (left := meter.left(now)) is not None:
        return f"{meter.done * 100 // meter.total} %, {duration(left)} left"
    done = quantity(meter.done, meter.unit)
    if meter.total is not None:
        done += f" of {quantity(meter.total, meter.unit)}"
        if meter.total > 0:
            done += f" ({meter.done * 100 // meter.total} %)"
    rate, left = meter.rate(now), meter.left(now)
    parts = [done]
    if rate is not None:
        parts.append("nothing moves" if rate <= 0 else f"{quantity(rate, meter.unit)}/s")
    if left is not None:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)
