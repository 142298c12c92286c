"""Where the frames of a base come from: a layout at once, a registry only where that is quicker than compressing.

What a registry sends is fetched ahead, in parallel single ranges of some megabytes. Nobody waits for it longer than
compressing would take, and it ends as soon as compressing turns out to be quicker.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import ContentError, HauloutError
from haulout.transfer.speeds import Speeds

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.chunked.base import Base
    from haulout.content.ports import BlobReader
    from haulout.oci import Descriptor

_PIECE: Final = 4 * 1024 * 1024
"""Blob bytes of one request, about."""
_AHEAD: Final = 4
"""Pieces asked for beyond the one in use, and connections."""
_KEPT: Final = 2 * _AHEAD
"""Pieces in memory."""
_MOST_LATE: Final = 3
"""Pieces that may come too late, one after another, before no more are asked for."""
_LEAST_WAIT: Final = 0.05


class LocalFrames:
    """Reads frames from a blob that lies on a disk here."""

    def __init__(self, blobs: BlobReader, blob: Descriptor, base: Base, note: Callable[[str], None]) -> None:
        self._blobs = blobs
        self._blob = blob
        self._base = base
        self._note = note
        self._failed = False

    def frame(self, number: int) -> bytes | None:
        """Return data frame ``number`` as stored; None once anything failed."""
        if self._failed:
            return None
        start, stop = self._base.place(number)
        try:
            with self._blobs.open_blob(self._blob, start, stop) as stream:
                return stream.read(stop - start)
        except HauloutError as exc:
            self._failed = True
            self._note(f"nothing more is taken over from the base: {exc}")
            return None

    def compressed(self, size: int, seconds: float) -> None:
        """Ignore it: reading is quicker."""


@dataclass(slots=True, eq=False)
class _Piece:
    """Bytes ``[start, stop)`` of the blob, asked for."""

    start: int
    stop: int
    data: bytes = b""
    is_complete: bool = False
    deadline: float | None = None
    """When waiting for it has taken as long as compressing would; None before anybody waited."""
    is_late: bool = False


class RemoteFrames:
    """Fetches frames ahead from a registry, as long as that is quicker than compressing them.

    Args:
        blobs: where the blob is.
        blob: the base's blob.
        base: where its frames are.
        jobs: threads that compress.
        note: told when it gives up.
    """

    def __init__(self, blobs: BlobReader, blob: Descriptor, base: Base, jobs: int, note: Callable[[str], None]) -> None:
        self._blobs = blobs
        self._blob = blob
        self._base = base
        self._note = note
        self._bounds = _pieces(base)
        self._starts = [start for start, _ in self._bounds]
        self._speeds = Speeds(base.toc.data_bytes / base.toc.blob_size, jobs)
        self._lock = threading.Condition()
        self._pieces: OrderedDict[int, _Piece] = OrderedDict()
        self._waiting: deque[_Piece] = deque()
        self._threads: list[threading.Thread] = []
        self._late = 0
        """Pieces that did not come in time since one did."""
        self._ended = False

    def frame(self, number: int) -> bytes | None:
        """Return data frame ``number`` as stored; None where it is not here in time, or not worth its fetching."""
        start, stop = self._base.place(number)
        at = bisect_right(self._starts, start) - 1
        with self._lock:
            for wanted in range(at, min(at + _AHEAD + 1, len(self._starts))):
                self._ask(wanted)
            piece = self._pieces.get(at)
            if piece is None:
                return None
            self._pieces.move_to_end(at)
            if not piece.is_complete and piece.deadline is None:
                piece.deadline = time.monotonic() + max(_LEAST_WAIT, self._speeds.compressing(piece.stop - piece.start))
            while not piece.is_complete:
                left = (piece.deadline or 0) - time.monotonic()
                if self._ended or left <= 0:
                    self._miss(piece)
                    return None
                self._lock.wait(left)
            self._speeds.used += stop - start
            return piece.data[start - piece.start : stop - piece.start]

    def compressed(self, size: int, seconds: float) -> None:
        """Learn how quick compressing is."""
        with self._lock:
            self._speeds.compressed(size, seconds)

    def _ask(self, at: int) -> None:
        if self._ended or at in self._pieces or not self._speeds.fetching_pays(len(self._waiting)):
            return
        while len(self._pieces) >= _KEPT:
            # The one that was used longest ago.
            self._pieces.popitem(last=False)
        piece = self._pieces[at] = _Piece(*self._bounds[at])
        self._waiting.append(piece)
        self._lock.notify_all()
        if len(self._threads) < _AHEAD:
            # Daemons: a registry that hangs must not keep the process alive.
            self._threads.append(threading.Thread(target=self._work, name=f"base-{len(self._threads)}", daemon=True))
            self._threads[-1].start()

    def _miss(self, piece: _Piece) -> None:
        if not piece.is_late:
            piece.is_late = True
            self._late += 1
            if self._late >= _MOST_LATE:
                self._end("its registry is too slow")

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._ended:
                    self._lock.wait()
                if self._ended:
                    return
                piece = self._waiting.popleft()
                self._speeds.begin(time.monotonic())
            try:
                data = self._fetch(piece)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the push goes on without
                with self._lock:
                    self._end(str(exc))
                return
            with self._lock:
                self._speeds.end(time.monotonic(), len(data))
                piece.data, piece.is_complete = data, True
                self._late = 0
                self._lock.notify_all()

    def _fetch(self, piece: _Piece) -> bytes:
        with self._blobs.open_blob(self._blob, piece.start, piece.stop) as stream:
            if stream.start != piece.start:
                raise ContentError("its registry does not send parts of blobs")
            return stream.read(piece.stop - piece.start)

    def _end(self, reason: str | None) -> None:
        if reason is not None and not self._ended:
            self._note(f"nothing more is taken over from the base: {reason}")
        self._ended = True
        self._waiting.clear()
        self._pieces.clear()
        self._lock.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._end(None)


def _pieces(base: Base) -> list[tuple[int, int]]:
    """Cut the base's blob into pieces that begin and end with frames."""
    pieces: list[tuple[int, int]] = []
    offsets = base.toc.blob_offsets.tolist()
    start = offsets[0]
    for stop, following in pairwise([*offsets[1:], offsets[-1] + _PIECE]):
        if following - start > _PIECE:
            pieces.append((start, stop))
            start = stop
    return pieces
