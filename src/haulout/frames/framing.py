"""Framing: where a disk is cut into frames. Pure, and a function of content alone.

Two rules make the cuts: long runs of zero blocks become frames of their own, and data is cut after a block whose hint
ends in a given number of zero bits (content-defined), between a least and a most length. The same content therefore
yields the same frames wherever it lies, and however its file happened to be sparse.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator, Sequence

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
    base: int | None = None
    """The data frame of the base that holds the same blocks."""
    is_small: bool = False
    """It belongs in the small-frame bundle: short, with blocks that the base lacks, or in the base's bundle still."""


class Cutter:
    """Cuts data, fed in order, after blocks whose hint ends in zero bits, between a least and a most length."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._mask = framing.average - 1
        self._length = 0

    def cut(self, hints: Sequence[int]) -> list[int]:
        """Take more blocks; returns the lengths of the frames completed, in blocks."""
        least, most, mask = self._framing.least, self._framing.most, self._mask
        lengths: list[int] = []
        position = 0  # blocks of these already counted in self._length, or cut
        for end in [number for number, hint in enumerate(hints, 1) if not hint & mask]:
            while self._length + end - position > most:
                position += most - self._length
                lengths.append(most)
                self._length = 0
            if self._length + end - position >= least:
                lengths.append(self._length + end - position)
                self._length = 0
                position = end
        self._length += len(hints) - position
        while self._length >= most:
            lengths.append(most)
            self._length -= most
        return lengths

    def end(self) -> list[int]:
        """Return the length of the last frame, if one is open."""
        lengths = [self._length] if self._length else []
        self._length = 0
        return lengths


class Framer:
    """Turns the blocks of a disk, fed in order, window by window, into spans that tile it."""

    def __init__(self, framing: Framing) -> None:
        self._cutter = Cutter(framing)
        self._zeros = 0
        """Blocks of the zero frame that is open; 0 after data, and just after a zero frame of full length."""

    def feed(self, hints: array[int], zero: bytes) -> tuple[bytes, list[Span]]:
        """Take one window (``WINDOW_BLOCKS`` blocks, fewer at the end of the disk).

        Args:
            hints: of its blocks.
            zero: for each block 1 where it is all zeros, else 0.

        Returns:
            For each block 1 where it goes into a zero frame, and the spans completed so far, which may lag behind.
        """
        in_zero = bytearray(len(zero))
        spans: list[Span] = []
        for start, stop, is_zero in runs(zero):
            if is_zero and ((start == 0 and self._zeros) or stop - start >= MIN_ZERO_RUN):
                in_zero[start:stop] = zero[start:stop]
        for start, stop, is_zero in runs(in_zero):
            if is_zero:
                spans += self._take_zeros(stop - start)
            else:
                spans += self._end_zeros()
                spans += self._data(hints[start:stop])
        return bytes(in_zero), spans

    def feed_hole(self, blocks: int) -> list[Span]:
        """Take one whole window of zeros, or the end of the disk."""
        if blocks >= MIN_ZERO_RUN or self._zeros:
            return self._take_zeros(blocks)
        raise ValueError("a hole shorter than MIN_ZERO_RUN is data; feed it")

    def finish(self) -> list[Span]:
        """Return the last spans, if any are open."""
        return [*self._end_data(), *self._end_zeros()]

    def _take_zeros(self, blocks: int) -> list[Span]:
        spans = self._end_data()
        self._zeros += blocks
        while self._zeros >= MAX_ZERO_BLOCKS:
            spans.append(Span(Kind.ZERO, MAX_ZERO_BLOCKS))
            self._zeros -= MAX_ZERO_BLOCKS
        return spans

    def _end_zeros(self) -> list[Span]:
        spans = [Span(Kind.ZERO, self._zeros)] if self._zeros else []
        self._zeros = 0
        return spans

    def _data(self, hints: array[int]) -> list[Span]:
        """Take blocks that go into data frames."""
        return [Span(Kind.DATA, length) for length in self._cutter.cut(hints)]

    def _end_data(self) -> list[Span]:
        """Complete the data frame that is open, if one is."""
        return [Span(Kind.DATA, length) for length in self._cutter.end()]


def runs(flags: bytes | bytearray) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, stop, value) of each run of equal flags, which are 0 or 1."""
    start = 0
    while start < len(flags):
        value = flags[start]
        stop = flags.find(1 - value, start)
        stop = len(flags) if stop < 0 else stop
        yield start, stop, bool(value)
        start = stop
