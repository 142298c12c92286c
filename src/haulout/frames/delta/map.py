"""The map of a delta: where every data block of the new disk is, once the delta's own new blocks are set apart. Pure.

With the old disk as it was published, no hints and no search are needed: block 7 of the new disk is block 9 of the old
one, zeros, or a block that the delta gives. As with hints, nothing here is believed: frames are hashed when they are
put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Self

from haulout.errors import InvalidDelta
from haulout.extras import np
from haulout.frames.blocks import ZERO_HINT
from haulout.frames.delta.runs import sums
from haulout.frames.seeds import SeedIndex

if TYPE_CHECKING:
    from haulout.frames.arrays import Columns, Hashes, Kinds, Numbers
    from haulout.frames.delta.runs import Runs
    from haulout.frames.seeds import Blocks


class Source(IntEnum):
    """Where a block of the new disk is."""

    OLD = 0
    """In the old disk."""
    ZEROS = 1
    """Nowhere: it is all zeros."""
    NEW = 2
    """Among the new blocks of the delta."""


@dataclass(frozen=True)
class Map:
    """Runs of consecutive blocks, along those data blocks of the new disk that are not new blocks of the delta."""

    counts: Columns
    """Blocks of each run."""
    leaps: Columns
    """From the end of the run before of the same source to the beginning of this one, modulo 2^32; 0 for zeros."""
    sources: Kinds
    """:class:`Source` of each run."""

    @cached_property
    def edges(self) -> Numbers:
        """Where each run begins among these blocks; one more: the end."""
        return sums(self.counts)

    @cached_property
    def total(self) -> int:
        """Blocks of all runs."""
        return int(self.counts.sum(dtype=np.uint64))

    @cached_property
    def starts(self) -> Numbers:
        """The number of each run's first block in its source: of the old disk, or of the new blocks; 0 for zeros."""
        starts = np.zeros(len(self.counts), np.int64)
        for source in (Source.OLD, Source.NEW):
            own = np.flatnonzero(self.sources == source)
            counts = self.counts[own]
            ends = np.cumsum(self.leaps[own].astype(np.uint64) + counts, dtype=np.uint64)
            starts[own] = (ends - counts) & np.uint64(0xFFFFFFFF)
        return starts

    def check(self, old: int, new: int) -> None:
        """Check that every run lies in a disk of ``old`` blocks, or among ``new`` new ones.

        Raises:
            InvalidDelta: one does not, is empty, or of an unknown source.
        """
        if (
            (self.counts == 0).any()
            or (self.sources > Source.NEW).any()
            or self.leaps[self.sources == Source.ZEROS].any()
        ):
            raise InvalidDelta("the delta's map has a run that is empty, or of an unknown source")
        most = np.array([old, np.iinfo(np.int64).max, new], np.int64)[self.sources]
        if (self.starts + self.counts > most).any():
            raise InvalidDelta("the delta's map leads out of its disks")

    @classmethod
    def of(cls, sources: Kinds, numbers: Numbers) -> Self:
        """Write the source of each block, and its number there, as runs; numbers of zeros do not matter."""
        numbers = np.where(sources == Source.ZEROS, 0, numbers)
        goes_on = numbers[1:] == numbers[:-1] + (sources[1:] != Source.ZEROS)
        cuts = np.flatnonzero((sources[1:] != sources[:-1]) | ~goes_on) + 1
        firsts = np.concatenate([[0], cuts])[: len(sources)]
        counts = np.diff(np.concatenate([firsts, [len(sources)]]))
        leaps = np.zeros(len(firsts), np.int64)
        for source in (Source.OLD, Source.NEW):
            own = np.flatnonzero(sources[firsts] == source)
            starts = numbers[firsts[own]]
            leaps[own] = starts - np.concatenate([[0], starts + counts[own]])[: len(own)]
        return cls(counts.astype(np.uint32), (leaps & 0xFFFFFFFF).astype(np.uint32), sources[firsts])

    @classmethod
    def between(cls, old: Blocks, hints: Hashes, fresh: Numbers) -> Self:
        """Make the map to a disk from the old one.

        Args:
            old: all blocks of the old disk, but for zeros.
            hints: of the new disk's data blocks.
            fresh: which of them are the new blocks of the delta: those that are not in ``old``, each content once.
        """
        places = SeedIndex([old]).locate(hints)
        numbers, sources = np.zeros(len(hints), np.int64), np.full(len(hints), Source.NEW, np.uint8)
        known = places >= 0
        sources[known], numbers[known] = Source.OLD, old.numbers[places[known]]
        sources[hints == ZERO_HINT] = Source.ZEROS
        again = sources == Source.NEW
        order = np.argsort(hints[fresh])
        numbers[again] = order[np.searchsorted(hints[fresh][order], hints[again])]
        rest = np.ones(len(hints), np.bool_)
        rest[fresh] = False
        return cls.of(sources[rest], numbers[rest])


@dataclass(frozen=True)
class Tiles:
    """Where each data block of the new disk is: runs that cover all of them, in order."""

    edges: Numbers
    """The first block of each run, counted along the data frames; one more: the end."""
    sources: Kinds
    starts: Numbers
    """The number of each run's first block in its source."""

    @classmethod
    def of(cls, blocks: Map, new: Runs) -> Self:
        """Lay the new blocks of a delta between the runs of its map; both together must cover the new disk."""
        takes = new.takes.astype(np.int64)
        before = sums(new.takes)
        # Where each run of new blocks lies among the others: there, a run of the map is cut in two.
        gaps = new.starts - before[:-1]
        cuts = np.unique(np.concatenate([blocks.edges[:-1], gaps[gaps < blocks.total]]))
        own = np.searchsorted(blocks.edges, cuts, side="right") - 1
        sources = blocks.sources[own]
        starts = blocks.starts[own] + np.where(sources == Source.ZEROS, 0, cuts - blocks.edges[own])
        firsts = cuts + before[np.searchsorted(gaps, cuts, side="right")]
        every = np.concatenate([firsts, new.starts])
        order = np.argsort(every)
        return cls(
            np.concatenate([every[order], [blocks.total + int(takes.sum())]]),
            np.concatenate([sources, np.full(len(takes), Source.NEW, np.uint8)])[order],
            np.concatenate([starts, before[:-1]])[order],
        )

    def at(self, blocks: Numbers) -> tuple[Kinds, Numbers]:
        """Return the source of each of ``blocks``, and its number there; zeros are numbered on."""
        runs = np.searchsorted(self.edges, blocks, side="right") - 1
        return self.sources[runs], self.starts[runs] + blocks - self.edges[runs]

    def count(self, source: Source, edges: Numbers) -> Numbers:
        """Return how many blocks before each of ``edges`` are of ``source``."""
        lengths = np.where(self.sources == source, np.diff(self.edges), 0)
        before = np.concatenate([[0], np.cumsum(lengths)])
        at = np.minimum(np.searchsorted(self.edges, edges, side="right") - 1, len(lengths) - 1)
        counted: Numbers = before[at] + np.where(self.sources[at] == source, edges - self.edges[at], 0)
        return counted
