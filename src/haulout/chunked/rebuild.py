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
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from haulout.chunked.seeds import ZEROS, read_pieces
from haulout.disk.writing import write_all
from haulout.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from haulout.chunked.seeds import Piece
    from haulout.chunked.toc import Toc
    from haulout.progress import Task

_FICLONERANGE: Final = 0x4020940D  # <linux/fs.h>
_CLONE_RANGE: Final = struct.Struct("@qQQQ")


class Rebuilder:
    """Rebuilds frames of one disk in one file, on any thread.

    Args:
        toc: what the frames must hash to.
        fd: the file, already of the disk's size, open for reading and writing.
        seeds: descriptors, by seed number.
    """

    def __init__(self, toc: Toc, fd: int, seeds: Sequence[int]) -> None:
        self._toc = toc
        self._fd = fd
        self._seeds = seeds
        self._may_clone = [True] * len(seeds)
        self._lock = threading.Lock()
        self.used = [0] * len(seeds)
        """Plain bytes taken from each seed."""
        self.cloned = 0
        """Of these, bytes that share their storage with the seed."""

    def rebuild(self, frame: int, pieces: Sequence[Piece]) -> bool:
        """Put ``frame`` together from ``pieces``; False where they no longer hold it, and nothing is vouched for.

        Raises:
            StorageError: the file cannot be written.
        """
        size, offset = self._toc.plain_size(frame), int(self._toc.disk_offsets[frame])
        expected = self._toc.sha256[frame].tobytes()
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
        if any(piece.seed == ZEROS or not self._may_clone[piece.seed] for piece in pieces):
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


def rebuild_all(
    rebuilder: Rebuilder,
    frames: Sequence[int],
    pieces: Callable[[int], Sequence[Piece]],
    *,
    toc: Toc,
    jobs: int,
    stop: threading.Event,
    task: Task,
) -> list[int]:
    """Rebuild ``frames`` on ``jobs`` threads and return those that could not be.

    Args:
        rebuilder: does one.
        frames: in disk order.
        pieces: gives the pieces of the frame at a position of ``frames``.
        toc: gives their sizes.
        jobs: threads.
        stop: set from outside, it ends the work at the next frame.
        task: advanced by the plain bytes of frames rebuilt.

    Raises:
        StorageError: the file cannot be written.
    """
    failed: list[int] = []

    def work(position: int) -> None:
        if stop.is_set():
            return
        frame = frames[position]
        if rebuilder.rebuild(frame, pieces(position)):
            task.advance(toc.plain_size(frame))
        else:
            failed.append(frame)

    with ThreadPoolExecutor(jobs, "rebuild") as pool:
        try:
            for _ in pool.map(work, range(len(frames))):
                pass
        except BaseException:
            # On Ctrl-C, or a full disk, the rest is not begun.
            stop.set()
            raise
    return sorted(failed)
