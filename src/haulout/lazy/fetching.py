"""Bringing frames here while a guest runs: what it waits for first, then what it will want next.

A read that misses takes the frames behind it along, the more the longer it has gone on in order. What a boot trace
names is fetched in its order by all connections but one, which is kept for reads that wait. A registry that does not
answer is asked again until patience ends; then the read fails, and the next one begins anew.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidFrame
from haulout.frames import apply, slices
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from haulout.content import BlobReader
    from haulout.lazy.image import PartialImage
    from haulout.oci import Descriptor

CONNECTIONS: Final = 4
PATIENCE: Final = 600.0
"""Seconds that a read waits for a registry that does not answer."""
_LEAST_AHEAD: Final = 64 << 10
_MOST_AHEAD: Final = 4 << 20
"""Bytes of the blob that one miss brings, at first and after many in order."""
_STREAMS: Final = 64
"""Files that may be read in order at once."""
_BATCH: Final = 1 << 20
"""Bytes of the blob that are planned together of what is fetched ahead."""
_GAP: Final = 64 << 10
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0
_CLOSE_SECONDS: Final = 2.0


@dataclass(eq=False, slots=True)
class _Waiter:
    """A read that waits."""

    lacking: set[int]
    done: Callable[[bool], None]
    deadline: float


class Fetcher:
    """Fetches frames of one disk into a partial image. Threads end with the process, or by :meth:`close`.

    Args:
        image: what they are written to.
        blobs: where they are; read from several threads.
        blob: that holds them.
        say: told of failures, and when all goes well again.
        patience: seconds that a read waits.
    """

    def __init__(
        self,
        image: PartialImage,
        blobs: BlobReader,
        blob: Descriptor,
        say: Callable[[str], None],
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._image = image
        self._toc = image.toc
        self._blobs = blobs
        self._blob = blob
        self._say = say
        self._patience = patience
        self._changed = threading.Condition()
        self._waiters: dict[int, list[_Waiter]] = {}
        self._demand: deque[int] = deque()
        self._ahead: deque[list[int]] = deque()
        self._in_flight: set[int] = set()
        self._alone: set[int] = set()
        """Frames that came with a damaged one: they are fetched one by one."""
        self._windows: dict[int, int] = {}
        """By the frame behind the last miss of a stream: how much the next one brings."""
        self._pause = 0.0
        self._resume = 0.0
        self._cause = "the registry does not answer"
        """Of the last failure."""
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(number > 0,), name=f"bring-{number}", daemon=True)
            for number in range(CONNECTIONS)
        ]
        self._threads.append(threading.Thread(target=self._expire, name="patience", daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def is_wanted(self) -> bool:
        """Whether a read waits at this moment."""
        return bool(self._waiters)

    @property
    def waits(self) -> tuple[float, str]:
        """Seconds that the oldest read has waited, of those that wait, and why the last fetch failed, if it did."""
        with self._changed:
            since = min((each.deadline for waiters in self._waiters.values() for each in waiters), default=None)
            cause = self._cause if self._pause or self._alone else ""
        return (0.0, "") if since is None else (time.monotonic() - since + self._patience, cause)

    def close(self) -> bool:
        """End the threads when they have done what they are at; reads that wait fail. Return whether all have ended.

        What a registry that hangs holds up is not waited for: such a thread may write to the image until it ends.
        """
        deadline = time.monotonic() + _CLOSE_SECONDS
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def require(self, offset: int, length: int, done: Callable[[bool], None]) -> bool:
        """Return whether these bytes are here; if not, ``done`` is told, from any thread, whether they came."""
        if not self._image.lacking(offset, length):
            return True
        with self._changed:
            lacking = self._image.lacking(offset, length)
            if not lacking:
                return True
            waiter = _Waiter(set(lacking), done, time.monotonic() + self._patience)
            for frame in lacking:
                self._waiters.setdefault(frame, []).append(waiter)
            self._demand += lacking
            self._changed.notify_all()
        return False

    def wait_for(self, offset: int, length: int) -> bool:
        """Bring these bytes here, and return whether they came."""
        came: list[bool] = []
        over = threading.Event()

        def done(ok: bool) -> None:  # noqa: FBT001 - as it is called
            came.append(ok)
            over.set()

        if self.require(offset, length, done):
            return True
        over.wait()
        return came[0]

    def prefetch(self, frames: Iterable[int]) -> None:
        """Fetch these frames when no read waits, in this order, but neighbours together."""
        for batch in _batches(self._image, frames):
            with self._changed:
                self._ahead.append(batch)
                self._changed.notify_all()

    def _work(self, may_prefetch: bool) -> None:  # noqa: FBT001 - an argument of the thread
        while (batch := self._next(may_prefetch)) is not None:
            failed: Exception | None = None
            try:
                self._bring(batch)
            except Exception as error:  # noqa: BLE001 - whatever it was, reads wait for this thread
                failed = error
            self._settle(batch, failed, ahead=may_prefetch)

    def _next(self, may_prefetch: bool) -> list[int] | None:  # noqa: FBT001
        with self._changed:
            while not self._closed:
                left = self._resume - time.monotonic()
                if left <= 0 and (batch := self._take(may_prefetch)):
                    self._in_flight.update(batch)
                    return batch
                self._changed.wait(left if left > 0 else None)
            return None

    def _take(self, may_prefetch: bool) -> list[int]:  # noqa: FBT001
        """Choose what to fetch next; the lock is held."""
        while self._demand:
            frame = self._demand.popleft()
            if frame in self._waiters and frame not in self._in_flight:
                return [frame] if frame in self._alone else self._with_neighbours(frame)
        while may_prefetch and self._ahead:
            batch = [frame for frame in self._ahead.popleft() if self._is_free(frame)]
            if batch:
                return batch
        return []

    def _is_free(self, frame: int) -> bool:
        return not (self._image.is_right(frame) or frame in self._in_flight or frame in self._alone)

    def _with_neighbours(self, first: int) -> list[int]:
        window = self._windows.pop(first, _LEAST_AHEAD)
        frames, size = [first], self._toc.compressed[first]
        following = first + 1
        while following < len(self._toc):
            if not self._toc.kinds[following]:
                if size >= window or not self._is_free(following):
                    break
                frames.append(following)
                size += self._toc.compressed[following]
            following += 1
        while len(self._windows) >= _STREAMS:
            self._windows.pop(next(iter(self._windows)))
        self._windows[following] = min(2 * window, _MOST_AHEAD)
        return frames

    def _bring(self, batch: list[int]) -> None:
        missing = []
        for frame in batch:
            if self._image.is_in_place(frame):
                self._arrived(frame)
            else:
                missing.append(frame)
        with NullProgress().task("", None) as task:
            for piece in slices(self._toc, missing, gap=_GAP):
                where = (self._blobs, self._blob, self._image.fd)
                apply(self._toc, [piece], *where, jobs=1, task=task, written=self._arrived)

    def _arrived(self, frame: int) -> None:
        with self._changed:
            self._image.mark(frame)
            self._alone.discard(frame)
            ready = []
            for waiter in self._waiters.pop(frame, ()):
                waiter.lacking.discard(frame)
                if not waiter.lacking:
                    ready.append(waiter)
        for waiter in ready:
            waiter.done(True)

    def _settle(self, batch: list[int], failed: Exception | None, *, ahead: bool) -> None:
        """Take note of how it went: what is still waited for is asked for again."""
        said = ""
        with self._changed:
            self._in_flight.difference_update(batch)
            missing = [frame for frame in batch if not self._image.is_right(frame)]
            if failed is None:
                if self._pause:
                    said = "the registry answers again"
                self._pause = 0.0
            elif isinstance(failed, InvalidFrame):
                self._cause = str(failed)
                if not self._alone.issuperset(missing):
                    said = self._cause
                self._alone.update(missing)
            else:
                self._cause = str(failed)
                if not self._pause:
                    said = f"{failed}; asking again"
                self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                self._resume = time.monotonic() + self._pause
                if ahead and missing:
                    self._ahead.appendleft(missing)
            if not (isinstance(failed, InvalidFrame) and len(batch) == 1):
                # One that came damaged alone is asked for with a pause, which holds up nothing else.
                self._demand.extendleft(frame for frame in reversed(missing) if frame in self._waiters)
            self._changed.notify_all()
        if said:
            self._say(said)

    def _forget(self, waiter: _Waiter) -> None:
        for frame in waiter.lacking:
            others = [each for each in self._waiters.get(frame, ()) if each is not waiter]
            if others:
                self._waiters[frame] = others
            else:
                self._waiters.pop(frame, None)

    def _expire(self) -> None:
        """Let reads fail whose time is up; at the end, all that wait. Ask again for frames that came damaged."""
        again = 0.0
        while True:
            with self._changed:
                now = time.monotonic()
                if now >= again:
                    again = now + min(_LONGEST_PAUSE, self._patience / 4)
                    self._demand += self._alone & self._waiters.keys()
                    self._changed.notify_all()
                every = {waiter for waiters in self._waiters.values() for waiter in waiters}
                late = [each for each in every if self._closed or each.deadline <= now]
                for waiter in late:
                    self._forget(waiter)
            for waiter in late:
                waiter.done(False)
            if late:
                self._say(f"a read failed after {self._patience:.0f} seconds: {self._cause}")
            with self._changed:
                if self._closed:
                    return
                self._changed.wait_for(lambda: self._closed, timeout=min(1.0, self._patience / 4))


def _batches(image: PartialImage, frames: Iterable[int]) -> Iterable[list[int]]:
    """Group frames in order of use into windows, and of each yield what one request brings."""
    toc, window, size = image.toc, [], 0
    known: set[int] = set()
    for frame in frames:
        if frame in known or toc.kinds[frame]:
            continue
        known.add(frame)
        window.append(frame)
        size += toc.compressed[frame]
        if size >= _BATCH:
            yield from _requests(image, window)
            window, size = [], 0
    yield from _requests(image, window)


def _requests(image: PartialImage, window: list[int]) -> Iterable[list[int]]:
    order = {frame: number for number, frame in enumerate(window)}
    groups = [list(piece.frames) for piece in slices(image.toc, sorted(window), gap=_GAP)]
    return sorted(groups, key=lambda group: min(order[frame] for frame in group))
