"""Surveying: which frames of a disk are already right in a local file.

This is how an interrupted pull goes on, and how a present disk is recognised. Nothing is taken on trust: no journal
says what was written, the bytes do.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from haulout.chunked.framing import Kind
from haulout.disk.sparse import data_extents, is_zero

if TYPE_CHECKING:
    from haulout.chunked.blocks import Mask
    from haulout.chunked.toc import Toc
    from haulout.progress import Task


def survey(fd: int, toc: Toc, jobs: int, task: Task) -> Mask:
    """Return, for every frame, whether the file open at ``fd`` holds its plain bytes at its place.

    Only stored parts of the file are read; a zero frame is right where the file has a hole or stored zeros.

    Args:
        fd: open for reading; shorter or longer than the disk is fine.
        toc: what ought to be there.
        jobs: threads that hash.
        task: advanced by the plain bytes of data frames found right.
    """
    size = min(os.fstat(fd).st_size, toc.disk.size)
    stored = _stored_frames(fd, size, toc)
    right: Mask = (toc.kinds == Kind.ZERO) & ~stored
    # Beyond the end of the file nothing is right, zeros included: the file has to grow first.
    right &= toc.disk_offsets[:-1] + toc.plain_sizes <= size

    def check(frame: int) -> None:
        start, length = int(toc.disk_offsets[frame]), toc.plain_size(frame)
        if toc.kinds[frame] == Kind.ZERO:
            right[frame] = _reads_zero(fd, start, length)
            return
        plain = os.pread(fd, length, start)
        if len(plain) == length and hashlib.sha256(plain).digest() == toc.sha256[frame].tobytes():
            right[frame] = True
            task.advance(length)

    with ThreadPoolExecutor(jobs, "survey") as pool:
        for _ in pool.map(check, np.flatnonzero(stored).tolist()):
            pass
    return right


def _stored_frames(fd: int, size: int, toc: Toc) -> Mask:
    stored = np.zeros(len(toc), dtype=np.bool_)
    for extent in data_extents(fd, size):
        first = int(np.searchsorted(toc.disk_offsets, extent.offset, side="right")) - 1
        last = int(np.searchsorted(toc.disk_offsets, extent.offset + extent.length, side="left"))
        stored[first:last] = True
    return stored


def _reads_zero(fd: int, start: int, length: int) -> bool:
    step = 1 << 20
    for offset in range(start, start + length, step):
        piece = os.pread(fd, min(step, start + length - offset), offset)
        if not piece or not is_zero(piece):
            return False
    return True
