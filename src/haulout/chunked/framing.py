"""Framing: where a disk is cut into frames. Pure, and a function of content alone.

Two rules make the cuts: long runs of zero blocks become frames of their own, and data is cut after a block whose hint
ends in a given number of zero bits (content-defined), between a least and a most length. The same content therefore
yields the same frames wherever it lies, and however its file happened to be sparse.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.chunked.blocks import Hashes, Mask

WINDOW_BLOCKS: Final = 1024
"""Blocks looked at together (4 MiB). Zero runs are judged within windows at multiples of this, so that the result does
not depend on how the disk was read."""

MIN_ZERO_RUN: Final = 16
"""Shortest run of zero blocks, within one window, that is worth a frame of its own (64 KiB)."""

MAX_ZERO_BLOCKS: Final = 16384
"""Longest zero frame (64 MiB)."""

MAX_DATA_BLOCKS: Final = 2048
"""Longest data frame a reader accepts (8 MiB)."""

_LONG_FRAMES_FROM_LEVEL: Final = 8


class Kind(IntEnum):
    """What a frame holds; the values are those of the TOC."""

    DATA = 0
    ZERO = 1


@dataclass(frozen=True, slots=True)
class Framing:
    """How long frames are, in blocks. ``average`` is a power of two: the expected length after ``least``."""

    least: int
    average: int
    most: int

    @classmethod
    def for_level(cls, level: int) -> Framing:
        """Choose by zstd level: from 8 on, its window outgrows small frames, and cutting there costs over a tenth.

        Measured on a Debian disk against one stream at the same level: 512 KiB frames cost 7 % at levels 3 and 6, but
        17 % at level 9, where 2 MiB frames cost 10 %.
        """
        if level >= _LONG_FRAMES_FROM_LEVEL:
            return cls(least=256, average=256, most=1024)
        return cls(least=64, average=64, most=256)


@dataclass(frozen=True, slots=True)
class Span:
    """A frame to be: ``blocks`` consecutive blocks of one kind."""

    kind: Kind
    blocks: int


class Framer:
    """Turns the blocks of a disk, fed in order, window by window, into spans that tile it."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._mask = np.uint64(framing.average - 1)
        self._kind = Kind.DATA
        self._length = 0

    def feed(self, hashes: Hashes, zero: Mask) -> tuple[Mask, list[Span]]:
        """Take one window (``WINDOW_BLOCKS`` blocks, fewer at the end of the disk).

        Returns:
            Which of these blocks go into zero frames, and the spans completed so far.
        """
        in_zero = np.zeros(len(zero), dtype=np.bool_)
        spans: list[Span] = []
        for start, stop, is_zero in _runs(zero):
            continues = start == 0 and self._kind is Kind.ZERO and self._length > 0
            if is_zero and (continues or stop - start >= MIN_ZERO_RUN):
                in_zero[start:stop] = True
        for start, stop, is_zero in _runs(in_zero):
            if is_zero:
                spans += self._zeros(stop - start)
            else:
                spans += self._data(hashes[start:stop])
        return in_zero, spans

    def feed_hole(self, blocks: int) -> list[Span]:
        """Take one whole window of zeros, or the end of the disk."""
        if blocks >= MIN_ZERO_RUN or (self._kind is Kind.ZERO and self._length):
            return self._zeros(blocks)
        raise ValueError("a hole shorter than MIN_ZERO_RUN is data; feed it")

    def finish(self) -> list[Span]:
        """Return the last span, if one is open."""
        return self._cut()

    def _cut(self) -> list[Span]:
        if not self._length:
            return []
        span, self._length = Span(self._kind, self._length), 0
        return [span]

    def _zeros(self, blocks: int) -> list[Span]:
        spans = self._cut() if self._kind is Kind.DATA else []
        self._kind = Kind.ZERO
        self._length += blocks
        while self._length >= MAX_ZERO_BLOCKS:
            spans.append(Span(Kind.ZERO, MAX_ZERO_BLOCKS))
            self._length -= MAX_ZERO_BLOCKS
        return spans

    def _data(self, hashes: Hashes) -> list[Span]:
        spans = self._cut() if self._kind is Kind.ZERO else []
        self._kind = Kind.DATA
        least, most = self._framing.least, self._framing.most
        position = 0  # blocks of this run already counted in self._length
        for candidate in np.flatnonzero((hashes & self._mask) == 0):
            end = int(candidate) + 1
            while self._length + end - position > most:
                position += most - self._length
                self._length = most
                spans += self._cut()
            if self._length + end - position >= least:
                self._length += end - position
                position = end
                spans += self._cut()
        self._length += len(hashes) - position
        while self._length >= most:
            rest, self._length = self._length - most, most
            spans += self._cut()
            self._length = rest
        return spans


def _runs(mask: Mask) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, stop, value) of each run of equal values."""
    if not len(mask):
        return
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    start = 0
    for edge in [*edges.tolist(), len(mask)]:
        yield start, edge, bool(mask[start])
        start = edge
