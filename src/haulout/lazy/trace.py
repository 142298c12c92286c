"""Boot traces: which blocks of a disk a boot reads, in order of first use. Format: docs/formats/trace.md. Pure.

A trace is a hint, whoever published it: it decides what is fetched early, and never what is believed.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import ContentError
from haulout.frames import BLOCK, block_count
from haulout.oci import Digest, SizedDigest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.frames import Toc

USE: Final = struct.Struct("<QI")
"""One range of blocks: number of the first, and how many."""
MOST_RANGES: Final = 1 << 18
MAX_TRACE_BYTES: Final = 4 << 20

_MAGIC: Final = b"haultrc1"
_HEADER: Final = struct.Struct("<8sIIQ32s")


@dataclass(frozen=True, slots=True)
class Trace:
    """Ranges of blocks of one disk, none twice."""

    disk: SizedDigest
    """The plain disk."""
    ranges: tuple[tuple[int, int], ...]
    """Number of the first block, and how many, in order of first use."""

    @property
    def size(self) -> int:
        """Bytes of the disk that were read."""
        return sum(count for _, count in self.ranges) * BLOCK

    def encode(self) -> bytes:
        """Return the bytes of the trace."""
        head = _HEADER.pack(_MAGIC, BLOCK, len(self.ranges), self.disk.size, self.disk.digest.raw)
        return head + b"".join(USE.pack(*each) for each in self.ranges)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse and validate a trace.

        Raises:
            ContentError: it is none, or names blocks outside the disk, or one twice.
        """
        if len(data) < _HEADER.size or len(data) > MAX_TRACE_BYTES:
            raise ContentError(f"the boot trace has {len(data)} bytes")
        magic, block, count, size, digest = _HEADER.unpack_from(data)
        if magic != _MAGIC or block != BLOCK or count > MOST_RANGES or len(data) != _HEADER.size + count * USE.size:
            raise ContentError("the boot trace is of an unknown format, or cut")
        ranges = tuple(USE.iter_unpack(data[_HEADER.size :]))
        if any(not 0 < length <= block_count(size) - first for first, length in ranges):
            raise ContentError("the boot trace names blocks outside its disk")
        if any(first + length > following for (first, length), (following, _) in pairwise(sorted(ranges))):
            raise ContentError("the boot trace names a block twice")
        return cls(SizedDigest(Digest(digest.hex()), size), ranges)

    @classmethod
    def of_uses(cls, disk: SizedDigest, uses: bytes) -> Self:
        """Make a trace of what a server wrote down; ranges that follow one another are joined."""
        joined: list[tuple[int, int]] = []
        # Several connections may have noted a block at once.
        recorder = Recorder(disk.size)
        noted = USE.iter_unpack(uses[: len(uses) // USE.size * USE.size])
        once = b"".join(recorder.use(first * BLOCK, count * BLOCK) for first, count in noted)
        for first, count in USE.iter_unpack(once):
            if joined and sum(joined[-1]) == first:
                joined[-1] = joined[-1][0], joined[-1][1] + count
            elif len(joined) < MOST_RANGES:
                joined.append((first, count))
        return cls(disk, tuple(joined))

    def frames(self, toc: Toc) -> Iterator[int]:
        """Yield the frames of a disk that hold these blocks, in order of first use; some twice."""
        for first, count in self.ranges:
            start, end = first * BLOCK, min((first + count) * BLOCK, toc.disk.size)
            yield from range(bisect_right(toc.disk_offsets, start) - 1, bisect_left(toc.disk_offsets, end))


class Recorder:
    """Takes note of blocks when they are used first.

    Args:
        size: bytes of the disk.
    """

    def __init__(self, size: int) -> None:
        self._used = bytearray(block_count(size))

    def use(self, offset: int, length: int) -> bytes:
        """Return what is new of a read, as ``USE`` records; b"": nothing."""
        first, stop = offset // BLOCK, -(-(offset + length) // BLOCK)
        found = b""
        at = self._used.find(0, first, stop)
        while at >= 0:
            end = self._used.find(1, at, stop)
            end = stop if end < 0 else end
            self._used[at:end] = b"\1" * (end - at)
            found += USE.pack(at, end - at)
            at = self._used.find(0, end, stop)
        return found
