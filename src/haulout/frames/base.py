"""A base: what an earlier disk's table of contents and hints tell about a new one. Pure.

Everything is looked up in sorted arrays: 16 bytes for each block of the base, nothing for those of the new disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from haulout.errors import InvalidToc
from haulout.frames.blocks import ZERO_HINT, Hashes, Mask
from haulout.frames.framing import Kind

if TYPE_CHECKING:
    from collections.abc import Collection

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
        crumbs: which frames of the table are crumbs.

    Raises:
        InvalidToc: there is not one hint for each block of its data frames.
    """

    def __init__(self, toc: Toc, hints: bytes, crumbs: Collection[int] = ()) -> None:
        if len(hints) != toc.hints.size:
            raise InvalidToc(f"{len(hints)} bytes of hints where the table of contents says {toc.hints.size}")
        self.toc = toc
        self.hints: Hashes = np.frombuffer(hints, "<u8")
        self._known: Hashes = np.unique(np.append(self.hints, ZERO_HINT))
        data = np.flatnonzero(toc.kinds == Kind.DATA)
        self._frames = data
        self._crumbs = np.isin(data, np.fromiter(crumbs, np.int64, len(crumbs)))
        self._lengths = toc.blocks[data].astype(np.int64)
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
        return _member(self._known, hashes)

    def beginnings(self, hashes: Hashes) -> list[int]:
        """Return where, among these, frames of at least ``MIN_KEPT`` blocks may begin."""
        return np.flatnonzero(_member(self._first, hashes)).tolist()

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

    def is_crumb(self, number: int) -> bool:
        """Whether data frame ``number`` is among the base's crumbs."""
        return bool(self._crumbs[number])

    def place(self, number: int) -> tuple[int, int]:
        """Where data frame ``number`` begins and ends in the blob."""
        frame = int(self._frames[number])
        return int(self.toc.blob_offsets[frame]), int(self.toc.blob_offsets[frame + 1])


def _member(values: Hashes, hashes: Hashes) -> Mask:
    if not len(values):
        return np.zeros(len(hashes), dtype=np.bool_)
    found = np.searchsorted(values, hashes)
    mask: Mask = values[np.minimum(found, len(values) - 1)] == hashes
    return mask
