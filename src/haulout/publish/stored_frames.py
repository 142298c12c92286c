"""Where the frames of a base come from: a layout at once, a registry only where that is quicker than compressing.

Frames of a registry are fetched ahead, neighbours together, in parallel single ranges. Compression waits no longer than
compressing would take, and no more are asked for once compressing turns out to be quicker.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import ContentError, HauloutError
from haulout.publish.speeds import Speeds

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.content import BlobReader
    from haulout.frames import Base
    from haulout.oci import Descriptor

_RANGE: Final = 4 * 1024 * 1024
"""Most blob bytes of one request."""
_GAP: Final = 64 * 1024
"""Bytes read over rather than asking again."""
_CONNECTIONS: Final = 4
_LEAST_WAIT: Final = 0.05
_MOST_LATE: Final = 3
"""Ranges that may come too late, one after another, before no more are asked for."""


class LocalFrames:
    """Reads frames from a blob that lies on a disk here."""

    def __init__(self, blobs: BlobReader, blob: Descriptor, base: Base, note: Callable[[str], None]) -> None:
        self._blobs = blobs
        self._blob = blob
        self._base = base
        self._note = note
        self._failed = False

    def expect(self, number: int) -> Callable[[], bytes | None]:
        """Return what reads data frame ``number``; it yields None once anything failed."""
        return lambda: self._read(number)

    def compressed(self, size: int, seconds: float) -> None:
        """Ignore it: reading is quicker."""

    def _read(self, number: int) -> bytes | None:
        if self._failed:
            return None
        start, stop = self._base.place(number)
        try:
            with self._blobs.open_blob(self._blob, start, stop) as stream:
                return stream.read(stop - start)
        except HauloutError as exc:
            if not self._failed:
                self._note(f"no more frames are reused from the base: {exc}")
            self._failed = True
            return None


@dataclass(slots=True, eq=False)
class _Range:
    """Bytes ``[start, stop)`` of the blob, to be fetched by one request."""

    start: int
    stop: int
    data: bytes | None = field(default=None, repr=False)
    deadline: float | None = None
    """When waiting for it has taken as long as compressing would; None before any wait."""
    is_late: bool = False


class RemoteFrames:
    """Fetches frames ahead from a registry. Use it in a ``with`` block.

    What it holds is what was expected and has not been taken yet.

    Args:
        blobs: where the blob is.
        blob: the base's blob.
        base: where its frames are.
        jobs: threads that compress.
        note: receives the reason when it gives up.
    """

    def __init__(self, blobs: BlobReader, blob: Descriptor, base: Base, jobs: int, note: Callable[[str], None]) -> None:
        self._blobs = blobs
        self._blob = blob
        self._base = base
        self._note = note
        self._speeds = Speeds(base.toc.data_bytes / base.toc.blob_size, jobs)
        self._changed = threading.Condition()
        self._open: _Range | None = None
        """The range that may still grow by the next frame."""
        self._waiting: deque[_Range] = deque()
        self._threads: list[threading.Thread] = []
        self._late = 0
        """Ranges that did not come in time since one did."""
        self._ended = False

    def expect(self, number: int) -> Callable[[], bytes | None]:
        """Fetch data frame ``number`` ahead, if that pays; what is returned waits for it, and yields None in vain."""
        start, stop = self._base.place(number)
        with self._changed:
            grown = self._open
            if grown is not None and 0 <= start - grown.stop <= _GAP and stop - grown.start <= _RANGE:
                grown.stop = stop
            else:
                self._close()
                if self._ended or not self._speeds.fetching_pays(len(self._waiting)):
                    return _nothing
                grown = self._open = _Range(start, stop)
        return lambda: self._take(grown, start, stop)

    def compressed(self, size: int, seconds: float) -> None:
        """Learn how quick compressing is."""
        with self._changed:
            self._speeds.compressed(size, seconds)

    def _take(self, wanted: _Range, start: int, stop: int) -> bytes | None:
        with self._changed:
            if wanted is self._open:
                self._close()
            while wanted.data is None:
                now = time.monotonic()
                if wanted.deadline is None:
                    patience = self._speeds.compressing(wanted.stop - wanted.start)
                    wanted.deadline = now + max(_LEAST_WAIT, patience)
                if self._ended or now >= wanted.deadline:
                    self._miss(wanted)
                    return None
                self._changed.wait(wanted.deadline - now)
            return wanted.data[start - wanted.start : stop - wanted.start]

    def _miss(self, wanted: _Range) -> None:
        if not wanted.is_late:
            wanted.is_late = True
            self._late += 1
            if self._late >= _MOST_LATE:
                self._end("its registry is too slow")

    def _close(self) -> None:
        """Let the open range be fetched as it is."""
        if self._open is None:
            return
        self._waiting.append(self._open)
        self._open = None
        if len(self._threads) < _CONNECTIONS:
            # Daemons: a registry that hangs must not keep the process alive.
            self._threads.append(threading.Thread(target=self._work, name=f"base-{len(self._threads)}", daemon=True))
            self._threads[-1].start()
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if self._ended:
                    return
                wanted = self._waiting.popleft()
                self._speeds.begin(time.monotonic())
            try:
                data = self._fetch(wanted)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the push goes on without
                with self._changed:
                    self._end(str(exc))
                return
            with self._changed:
                self._speeds.end(time.monotonic(), len(data))
                self._late = 0
                wanted.data = data
                self._changed.notify_all()

    def _fetch(self, wanted: _Range) -> bytes:
        with self._blobs.open_blob(self._blob, wanted.start, wanted.stop) as stream:
            if stream.start != wanted.start:
                raise ContentError("its registry does not send parts of blobs")
            return stream.read(wanted.stop - wanted.start)

    def _end(self, reason: str | None) -> None:
        if reason is not None and not self._ended:
            self._note(f"no more frames are reused from the base: {reason}")
        self._ended = True
        self._open = None
        self._waiting.clear()
        self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._end(None)


def _nothing() -> None:
    return None
