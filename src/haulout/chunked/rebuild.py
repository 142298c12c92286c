"""Rebuilding frames from seeds: gather the blocks, hash them, and only then write them.

Where the file system shares blocks between files (Btrfs, XFS), a frame is cloned first and hashed in its new place,
which costs no space and no writing; the file is not published before everything in it has been hashed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

from haulout.chunked.blocks import BLOCK
from haulout.chunked.seeds import ZEROS, read_pieces
from haulout.disk.writing import write_all
from haulout.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from haulout.chunked.seeds import Piece
    from haulout.chunked.toc import Toc
    from haulout.progress import Task

    _Pieces = Callable[[int], Sequence[Piece]]

_FICLONERANGE: Final = 0x4020940D  # <linux/fs.h>
_CLONE_RANGE: Final = struct.Struct("@qQQQ")


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
        self._may_clone: list[bool] = []
        self._lock = threading.Lock()
        self.used: list[int] = []
        """Plain bytes taken from each seed."""
        self.cloned = 0
        """Of these, bytes that share their storage with the seed."""

    def add_seed(self, fd: int, *, may_clone: bool = True) -> None:
        """Take one more open file to read from; pieces name it by its number, counted from 0."""
        with self._lock:
            self._seeds.append(fd)
            self._may_clone.append(may_clone)
            self.used.append(0)

    def try_cloning(self, trial: int) -> None:
        """Find out, by cloning a block of each seed into the open file ``trial``, from which of them frames will be."""
        for number, seed in enumerate(self._seeds):
            try:
                fcntl.ioctl(trial, _FICLONERANGE, _CLONE_RANGE.pack(seed, 0, BLOCK, 0))
            except OSError:
                self._may_clone[number] = False

    def would_clone(self, pieces: Sequence[Piece]) -> bool:
        """Whether a frame of these pieces is to share its storage, as far as is known."""
        return all(piece.seed != ZEROS and self._may_clone[piece.seed] for piece in pieces)

    def rebuild(self, frame: int, pieces: Sequence[Piece]) -> bool:
        """Put ``frame`` together from ``pieces``; False where they no longer hold it, and nothing is vouched for.

        Raises:
            StorageError: the file cannot be written.
        """
        size, offset = self.toc.plain_size(frame), int(self.toc.disk_offsets[frame])
        expected = self.toc.sha256[frame].tobytes()
        if self._clone(pieces, size, offset):
            plain = os.pread(self._fd, size, offset)
            if hashlib.sha256(plain).digest() != expected:
                return False
            self._count(pieces, cloned=size)
            return True
        try:
            plain = read_pieces(pieces, self._seeds, size)
        except StorageError:
            # A seed that cannot be read holds nothing; whatever is wrong with it is not this pull's business.
            return False
        if hashlib.sha256(plain).digest() != expected:
            return False
        write_all(self._fd, plain, offset)
        self._count(pieces)
        return True

    def _count(self, pieces: Sequence[Piece], cloned: int = 0) -> None:
        with self._lock:
            self.cloned += cloned
            for piece in pieces:
                if piece.seed != ZEROS:
                    self.used[piece.seed] += piece.length

    def _clone(self, pieces: Sequence[Piece], size: int, offset: int) -> bool:
        if not self.would_clone(pieces):
            return False
        left = size
        for piece in pieces:
            # A clone ends at a block boundary or at the end of its source; a short last block is copied instead.
            if piece.length > left:
                return False
            source = _CLONE_RANGE.pack(self._seeds[piece.seed], piece.offset, piece.length, offset + size - left)
            try:
                fcntl.ioctl(self._fd, _FICLONERANGE, source)
            except OSError:
                self._may_clone[piece.seed] = False
                return False
            left -= piece.length
        return left == 0


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
        self._waiting: deque[tuple[int, _Pieces]] = deque()
        self._pool = ThreadPoolExecutor(jobs, "rebuild")
        self._under_way: deque[Future[None]] = deque()
        self._failed: list[int] = []

    def add(self, frames: Sequence[int], pieces: _Pieces) -> None:
        """Begin ``frames``; ``pieces`` gives the pieces of each."""
        self._waiting.extend((frame, pieces) for frame in frames)
        for _ in range(min(self._jobs, len(frames))):
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
                frame, pieces = self._waiting.popleft()
            except IndexError:
                return
            self._work(frame, pieces)

    def _work(self, frame: int, pieces: _Pieces) -> None:
        try:
            if self._rebuilder.rebuild(frame, pieces(frame)):
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
