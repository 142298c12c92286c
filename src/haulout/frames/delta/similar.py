"""Finding similar blocks: which blocks of one file share a piece of their content with which of another.

A *feature* is the hash of 32 bytes at a place that their first eight bytes choose, so that the same content is sampled
wherever in a block it lies (content-defined sampling). Blocks with a feature in common very likely share more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.extras import np
from haulout.frames.blocks import BLOCK

if TYPE_CHECKING:
    from haulout.frames.arrays import Hashes, Numbers

MOST_ALIKE: Final = 4
"""A feature that more blocks than this have says little: it is left out."""

_FEATURE: Final = 32
_TABLE_BITS: Final = 24
_TABLE_SHIFT: Final = 64 - _TABLE_BITS
_CHOOSER: Final = 0x9E3779B97F4A7C15
_MIXERS: Final = (0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)


def features(data: bytes | memoryview, rate: int) -> tuple[Hashes, Numbers]:
    """Sample the features of consecutive blocks.

    Args:
        data: whole blocks.
        rate: one place in ``2**rate`` is sampled.

    Returns:
        The features, and for each the number of its block. None reaches over the end of a block.
    """
    found: list[Numbers] = [np.empty(0, np.int64)]
    for shift in range(8):
        words = np.frombuffer(data, "<u8", max(len(data) - shift, 0) // 8, shift)
        chosen = (words * np.uint64(_CHOOSER) >> np.uint64(64 - rate) == 0) & (words != 0)
        found.append(np.flatnonzero(chosen) * 8 + shift)
    places = np.concatenate(found)
    places = places[places % BLOCK <= BLOCK - _FEATURE]
    if not len(places):
        return np.empty(0, np.uint64), places
    plain = np.frombuffer(data, np.uint8)
    pieces = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(plain, _FEATURE)[places]).view("<u8")
    values: Hashes = pieces[:, 0] * np.uint64(_CHOOSER)
    for column, mixer in enumerate(_MIXERS, 1):
        values = (values ^ values >> np.uint64(29)) * np.uint64(mixer) + pieces[:, column]
    return values ^ values >> np.uint64(32), places // BLOCK


class Similar:
    """Collects which blocks of an old disk share features with the new blocks.

    Args:
        values: features of the new blocks.
        blocks: for each, the number of its new block.
    """

    def __init__(self, values: Hashes, blocks: Numbers) -> None:
        order = np.argsort(values, kind="stable")
        self._values = values[order]
        self._blocks = blocks[order]
        is_first = np.ones(len(self._values), dtype=np.bool_)
        is_first[1:] = self._values[1:] != self._values[:-1]
        self._known = self._values[is_first]
        # Most features of old blocks are in no new one; a look at this table spares most of the searches.
        self._perhaps = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self._perhaps[self._known >> np.uint64(_TABLE_SHIFT)] = True
        self._seen = np.zeros(len(self._known), dtype=np.int64)
        self._features: list[Numbers] = [np.empty(0, np.int64)]
        self._old: list[Numbers] = [np.empty(0, np.int64)]

    def add(self, values: Hashes, blocks: Numbers) -> None:
        """Take features of old blocks; only those are kept that new blocks have, and that are not too common yet."""
        if not len(self._known) or not len(values):
            return
        likely = np.flatnonzero(self._perhaps[values >> np.uint64(_TABLE_SHIFT)])
        values, blocks = values[likely], blocks[likely]
        order = np.lexsort((blocks, values))
        values, blocks = values[order], blocks[order]
        found = np.minimum(np.searchsorted(self._known, values), len(self._known) - 1)
        kept = self._known[found] == values
        # A feature counts once for a block, however often the block has it.
        kept[1:] &= (values[1:] != values[:-1]) | (blocks[1:] != blocks[:-1])
        kept &= self._seen[found] <= MOST_ALIKE
        found, blocks = found[kept], blocks[kept]
        np.add.at(self._seen, found, 1)
        self._features.append(found)
        self._old.append(blocks)

    def pairs(self) -> tuple[Numbers, Numbers]:
        """Return pairs of a new and an old block, ascending by new block; one for each feature in common."""
        named, old = np.concatenate(self._features), np.concatenate(self._old)
        rare = self._seen[named] <= MOST_ALIKE
        named, old = named[rare], old[rare]
        starts = np.searchsorted(self._values, self._known[named], side="left")
        counts = np.searchsorted(self._values, self._known[named], side="right") - starts
        # A new block may have a feature as often as it likes, but it counts only so often: zeros would count for ever.
        counts = np.minimum(counts, MOST_ALIKE)
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        new = self._blocks[np.repeat(starts, counts) + within]
        order = np.argsort(new, kind="stable")
        return new[order], np.repeat(old, counts)[order]
