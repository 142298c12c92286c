"""Surveying: which frames of a disk are already right in a local file.

This is how an interrupted pull resumes, and how a present disk is recognised. Nothing is taken on trust: no journal
records what was written, the bytes are hashed.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left, bisect_right
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from operator import or_
from typing import TYPE_CHECKING

from haulout.disk import data_extents, is_zero, size_of
from haulout.frames.framing import Kind
from haulout.local import processors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.frames.toc import FrameFlags, Toc
    from haulout.progress import Task


def survey(fd: int, toc: Toc, jobs: int, task: Task) -> FrameFlags:
    """Return, for every frame, whether the file open at ``fd`` holds its plain bytes at its place.

    Only stored parts of the file are read; a zero frame is right where the file has a hole or stored zeros.

    Args:
        fd: open for reading; shorter or longer than the disk is fine.
        toc: what ought to be there.
        jobs: threads that hash.
        task: advanced by the plain bytes of data frames found right.
    """
    return _Survey(fd, toc, task).run(jobs, to_the_end=True)


def holds(fd: int, toc: Toc, jobs: int, task: Task) -> bool:
    """Return whether the file open at ``fd`` holds the whole disk; ends at the first frame that is wrong.

    Arguments as for :func:`survey`.
    """
    return all(_Survey(fd, toc, task).run(jobs, to_the_end=False))


def has_frames(fd: int, toc: Toc) -> bool:
    """Return whether the file open at ``fd`` holds all data frames of ``toc``; ends at the first that is missing."""
    return all(holds_frame(fd, toc, frame) for frame in toc.data_frames)


def frames_in_place(fd: int, toc: Toc, frames: Sequence[int], task: Task | None = None) -> list[int]:
    """Return which data ``frames`` lie at their own place in the file open at ``fd``; none where it cannot be read.

    Args:
        fd: open for reading, of any size.
        toc: whose frames they are.
        frames: ascending.
        task: advanced by the plain bytes compared.
    """
    stored = _stored_frames(fd, min(size_of(fd), toc.disk.size), toc)

    def is_there(frame: int) -> bool:
        try:
            found = bool(stored[frame]) and holds_frame(fd, toc, frame)
        except OSError:
            return False
        if task is not None:
            task.advance(toc.plain_size(frame))
        return found

    with ThreadPoolExecutor(processors(), "compare") as pool:
        return [frame for frame, same in zip(frames, pool.map(is_there, frames), strict=True) if same]


class _Survey:
    def __init__(self, fd: int, toc: Toc, task: Task) -> None:
        self._fd = fd
        self._toc = toc
        self._task = task
        size = min(size_of(fd), toc.disk.size)
        self._stored = _stored_frames(fd, size, toc)
        # Beyond the end of the file nothing is right, zeros included: the file has to grow first.
        self._inside = len(toc) if size == toc.disk.size else bisect_right(toc.disk_offsets, size) - 1
        self._right = bytearray(len(toc))
        for frame in range(self._inside):
            self._right[frame] = toc.kinds[frame] == Kind.ZERO and not self._stored[frame]

    def run(self, jobs: int, *, to_the_end: bool) -> FrameFlags:
        if not to_the_end and (self._inside < len(self._toc) or not all(map(or_, self._right, self._stored))):
            return self._right
        wrong = False

        def check(frame: int) -> None:
            nonlocal wrong
            if to_the_end or not wrong:
                self._right[frame] = self._is_right(frame)
                wrong = wrong or not self._right[frame]

        with ThreadPoolExecutor(jobs, "survey") as pool:
            for _ in pool.map(check, compress(range(len(self._toc)), self._stored)):
                pass
        return self._right

    def _is_right(self, frame: int) -> bool:
        toc = self._toc
        if toc.kinds[frame] == Kind.ZERO:
            return _reads_zero(self._fd, toc.disk_offsets[frame], toc.plain_size(frame))
        if not holds_frame(self._fd, toc, frame):
            return False
        self._task.advance(toc.plain_size(frame))
        return True


def holds_frame(fd: int, toc: Toc, frame: int) -> bool:
    """Return whether the file open at ``fd`` holds a data frame at its place.

    Raises:
        OSError: it cannot be read.
    """
    plain = os.pread(fd, toc.plain_size(frame), toc.disk_offsets[frame])
    return hashlib.sha256(plain).digest() == toc.digest(frame)


def _stored_frames(fd: int, size: int, toc: Toc) -> FrameFlags:
    stored = bytearray(len(toc))
    for extent in data_extents(fd, size):
        first = bisect_right(toc.disk_offsets, extent.offset) - 1
        last = bisect_left(toc.disk_offsets, extent.end)
        stored[first:last] = b"\1" * (last - first)
    return stored


def _reads_zero(fd: int, start: int, length: int) -> bool:
    step = 1 << 20
    for offset in range(start, start + length, step):
        piece = os.pread(fd, min(step, start + length - offset), offset)
        if not piece or not is_zero(piece):
            return False
    return True
