"""Rebuilding frames from seeds: gather the blocks, hash them, and only then write them.

From a seed that does not change any more and shares its storage (a snapshot on Btrfs or XFS), blocks are cloned once
they were hashed, which costs no space and no writing.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

from haulout.disk import write_all
from haulout.errors import StorageError
from haulout.frames.pieces import ZEROS, read_pieces
from haulout.local import clone_range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from haulout.frames.pieces import Piece
    from haulout.frames.toc import Toc
    from haulout.progress import Task

    _Pieces = Callable[[Sequence[int]], Sequence[Sequence[Piece]]]

_GROUP: Final = 16
"""Frames whose pieces are asked for together: few enough that no thread is left with much when the others are done."""
_LEAST_SHARED: Final = 32 * 1024
"""Average bytes of a frame's pieces from which on they are cloned: many small ones take longer than copying them, and
leave a file in as many extents."""


class Rebuilder:
    """Rebuilds frames of one disk in one file, on any thread.

    Args:
        toc: what the frames must hash to.
        fd: the file, already of the disk's size, open for reading and writing.
    """

    def __init__(self, toc: Toc, fd: int) -> None:
        self.toc = toc
        self._fd = fd
        self._seeds: list[int] = []
        self._shared: list[bool] = []
        self._lock = threading.Lock()
        self.used: list[int] = []
        """Plain bytes taken from each seed."""
        self.cloned = 0
        """Of these, bytes that share their storage with the seed."""

    def add_seed(self, fd: int, *, shared: bool = False) -> None:
        """Take one more open file to read from; pieces name it by its number, counted from 0.

        Args:
            fd: the file.
            shared: it is a snapshot, which never changes, where the file system can clone parts of it.
        """
        with self._lock:
            self._seeds.append(fd)
            self._shared.append(shared)
            self.used.append(0)

    def would_clone(self, pieces: Sequence[Piece]) -> bool:
        """Whether a frame of these pieces is to share its storage."""
        return all(piece.seed != ZEROS and self._shared[piece.seed] for piece in pieces) and sum(
            piece.length for piece in pieces
        ) >= _LEAST_SHARED * len(pieces)

    def rebuild(self, frame: int, pieces: Sequence[Piece]) -> bool:
        """Put ``frame`` together from ``pieces``; False where they no longer hold it; nothing is written then.

        Raises:
            StorageError: the file cannot be written.
        """
        size, offset = self.toc.plain_size(frame), self.toc.disk_offsets[frame]
        try:
            plain = read_pieces(pieces, self._seeds, size)
        except StorageError:
            # A seed that cannot be read holds nothing; whatever is wrong with it is not this pull's business.
            return False
        if hashlib.sha256(plain).digest() != self.toc.digest(frame):
            return False
        if self._clone(pieces, size, offset):
            self._count(pieces, cloned=size)
        else:
            write_all(self._fd, memoryview(plain), offset)
            self._count(pieces)
        return True

    def _count(self, pieces: Sequence[Piece], cloned: int = 0) -> None:
        with self._lock:
            self.cloned += cloned
            for piece in pieces:
                if piece.seed != ZEROS:
                    self.used[piece.seed] += piece.length

    def _clone(self, pieces: Sequence[Piece], size: int, offset: int) -> bool:
        # A clone ends at a block boundary or at the end of its source; a short last block is copied instead.
        if not self.would_clone(pieces) or sum(piece.length for piece in pieces) != size:
            return False
        at = offset
        try:
            for piece in pieces:
                clone_range(self._seeds[piece.seed], piece.offset, piece.length, self._fd, at)
                at += piece.length
        except OSError:
            return False
        return True


class Rebuilding:
    """Frames being rebuilt on a few threads, in the order they are added; more may be added from any thread.

    Leaving the block ends the work at the next frame: :meth:`finish` first.

    Args:
        rebuilder: does one.
        jobs: threads.
        task: advanced by the plain bytes of frames rebuilt.
    """

    def __init__(self, rebuilder: Rebuilder, jobs: int, task: Task) -> None:
        self._rebuilder = rebuilder
        self._task = task
        self._jobs = jobs
        self._stop = threading.Event()
        self._waiting: deque[tuple[Sequence[int], _Pieces]] = deque()
        self._pool = ThreadPoolExecutor(jobs, "rebuild")
        self._under_way: deque[Future[None]] = deque()
        self._failed: list[int] = []

    def add(self, frames: Sequence[int], pieces: _Pieces, *, first: bool = False) -> None:
        """Begin ``frames``.

        Args:
            frames: their numbers.
            pieces: gives the pieces of each of some of them; called on any thread.
            first: whether they go before what waits already.
        """
        groups = [(frames[at : at + _GROUP], pieces) for at in range(0, len(frames), _GROUP)]
        if first:
            self._waiting.extendleft(reversed(groups))
        else:
            self._waiting.extend(groups)
        for _ in range(min(self._jobs, len(groups))):
            self._under_way.append(self._pool.submit(self._drain))

    def finish(self) -> list[int]:
        """Wait for all frames added, and return those that could not be rebuilt, ascending.

        Raises:
            StorageError: the file cannot be written.
        """
        while self._under_way:
            self._under_way.popleft().result()
        return sorted(self._failed)

    def _drain(self) -> None:
        while not self._stop.is_set():
            try:
                frames, pieces = self._waiting.popleft()
            except IndexError:
                return
            self._work(frames, pieces)

    def _work(self, frames: Sequence[int], pieces: _Pieces) -> None:
        try:
            for frame, own in zip(frames, pieces(frames), strict=True):
                if self._stop.is_set():
                    return
                if self._rebuilder.rebuild(frame, own):
                    self._task.advance(self._rebuilder.toc.plain_size(frame))
                else:
                    self._failed.append(frame)
        except BaseException:
            # On a full disk the rest is not begun.
            self._stop.set()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)
