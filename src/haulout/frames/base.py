"""A base: the table of contents and the hints of an earlier disk, by which a new one is cut. Pure.

Everything is looked up in sorted arrays: 16 bytes for each block of the base, nothing for those of the new disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidToc
from haulout.extras import np
from haulout.frames.blocks import ZERO_HINT
from haulout.frames.seeds import is_member

if TYPE_CHECKING:
    from collections.abc import Collection

    from haulout.frames.arrays import Hashes, Mask
    from haulout.frames.toc import Toc

MIN_KEPT: Final = 16
"""Shortest frame of a base, in blocks, that is looked for wherever it may be (64 KiB)."""

_MAX_ALIKE: Final = 8
"""Frames with the same first block that are compared at one place: a base full of them must not cost hours."""


class Base:
    """The blocks and data frames of an earlier disk. Data frames are numbered among themselves.

    Args:
        toc: its table of contents.
        hints: the bytes of its hints blob, verified against the table.
        small: the frames of the table that are in its small-frame bundle.

    Raises:
        InvalidToc: there is not one hint for each block of its data frames.
    """

    def __init__(self, toc: Toc, hints: bytes, small: Collection[int] = ()) -> None:
        if len(hints) != toc.hints.size:
            raise InvalidToc(f"{len(hints)} bytes of hints where the table of contents says {toc.hints.size}")
        self.toc = toc
        self.hints: Hashes = np.frombuffer(hints, "<u8")
        self._known: Hashes = np.unique(np.append(self.hints, np.uint64(ZERO_HINT)))
        self._frames = data = np.array(toc.data_frames, np.int64)
        self._small = np.isin(data, np.fromiter(small, np.int64, len(small)))
        self._lengths = np.asarray(toc.blocks)[data].astype(np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        kept = np.flatnonzero(self._lengths >= MIN_KEPT)
        first = self.hints[self._starts[kept]]
        # By first block, the longest first: where one frame begins like another, the longer one is the better find.
        order = np.lexsort((kept, -self._lengths[kept], first))
        self._kept = kept[order]
        self._first = first[order]
        self.longest = int(self._lengths.max(initial=0))
        """Blocks of its longest data frame."""

    def knows(self, hashes: Hashes) -> Mask:
        """Return which of these hints the base has; a zero block is always known."""
        return is_member(self._known, hashes)

    def beginnings(self, hashes: Hashes) -> list[int]:
        """Return where, among these, frames of at least ``MIN_KEPT`` blocks may begin."""
        return np.flatnonzero(is_member(self._first, hashes)).tolist()

    def frame_at(self, hashes: Hashes, position: int) -> int | None:
        """Return the longest data frame whose blocks lie at ``position``; None where none does."""
        at = int(np.searchsorted(self._first, hashes[position]))
        for number in self._kept[at : at + _MAX_ALIKE].tolist():
            if self.lies_at(number, hashes, position):
                return int(number)
        return None

    def lies_at(self, number: int, hashes: Hashes, position: int) -> bool:
        """Whether the blocks of data frame ``number`` lie at ``position``, all of them and in order."""
        if number >= len(self._lengths):
            return False
        start, length = int(self._starts[number]), int(self._lengths[number])
        return np.array_equal(self.hints[start : start + length], hashes[position : position + length])

    def length(self, number: int) -> int:
        """Blocks of data frame ``number``."""
        return int(self._lengths[number])

    def is_small(self, number: int) -> bool:
        """Whether data frame ``number`` is in the base's small-frame bundle."""
        return bool(self._small[number])

    def place(self, number: int) -> tuple[int, int]:
        """Where data frame ``number`` begins and ends in the blob."""
        frame = int(self._frames[number])
        return self.toc.blob_offsets[frame], self.toc.blob_offsets[frame + 1]
