"""A disk of which only some frames are here: in a sparse file, each verified before a byte of it is served."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from haulout.disk import punch_hole
from haulout.frames import holds_frame

if TYPE_CHECKING:
    from haulout.frames import Toc


class PartialImage:
    """Knows which frames were verified by this process; no journal says so of earlier ones, whose bytes are hashed.

    So nothing that a kill or a power cut left half written is ever served.

    Args:
        fd: the file, open for reading and writing; brought to the disk's size.
        toc: its verified table of contents.

    Raises:
        OSError: the file system does not hold files of this size, or is full.
    """

    def __init__(self, fd: int, toc: Toc) -> None:
        self.fd = fd
        self.toc = toc
        self.size = toc.disk.size
        self._right = bytearray(toc.kinds)  # 1 for a frame of zeros
        self._whole = False
        os.ftruncate(fd, self.size)
        for frame, is_zero in enumerate(toc.kinds):
            if is_zero:
                punch_hole(fd, toc.disk_offsets[frame], toc.plain_size(frame))

    def lacking(self, offset: int, length: int) -> list[int]:
        """Return the frames that hold these bytes and are not known to be right."""
        if self._whole:
            return []
        starts = self.toc.disk_offsets
        first, stop = bisect_right(starts, offset) - 1, bisect_left(starts, offset + length)
        if self._right.find(0, first, stop) < 0:
            return []
        return [frame for frame in range(first, stop) if not self._right[frame]]

    def is_right(self, frame: int) -> bool:
        """Return whether a frame is known to be right."""
        return self._whole or bool(self._right[frame])

    def is_in_place(self, frame: int) -> bool:
        """Find out whether the file holds a frame already, from an earlier run or another process."""
        try:
            start = self.toc.disk_offsets[frame]
            if os.lseek(self.fd, start, os.SEEK_DATA) >= start + self.toc.plain_size(frame):
                return False
            return holds_frame(self.fd, self.toc, frame)
        except OSError:
            # There is nothing behind, or it cannot be read.
            return False

    def mark(self, frame: int) -> None:
        """Take note that a frame was verified, and is in the file."""
        self._right[frame] = 1

    def mark_whole(self) -> None:
        """Take note that the file was verified as a whole."""
        self._whole = True
