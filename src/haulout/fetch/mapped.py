"""Blocks found by the map of a published delta, in a file that holds the old disk as it was published."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.errors import StorageError
from haulout.extras import np
from haulout.fetch.finding import DeltaPlan, WholeFrames
from haulout.frames import BLOCK, HINT_BYTES, MISSING, ZEROS, Source, join_blocks, join_groups, read_pieces, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from haulout.fetch.finding import Finding, LoadedDelta
    from haulout.fetch.seeds import Seed
    from haulout.frames import Hashes, Kinds, Numbers, Piece, SeedNumbers, Toc

_SAMPLE: Final = 32
_LEAST_SAMPLE: Final = 4
_MOST_WRONG: Final = 4
"""One of so many frames of the sample may be wrong: a machine that was booted has written to its disk."""


@dataclass(frozen=True, slots=True)
class MapFinder:
    """Looks for a seed that is laid out as the old disk of a delta; a :class:`finding.Finder`.

    A note of an earlier pull says so, or a few frames that the map says are made of old blocks: nothing is fetched for
    it. Where new blocks are lacking and the user named another file, nothing is found: that file may hold them, and
    only hints find them.
    """

    toc: Toc
    """Of the disk that is pulled."""
    deltas: Sequence[LoadedDelta]
    seeds: Sequence[Seed]
    numbers: Sequence[int]
    """Of the seeds that may be read for it."""

    def find(self, frames: Sequence[int]) -> Finding:
        """Say of which old and new blocks each of ``frames`` is made."""
        delta, number = next(self._candidates(frames), (None, 0))
        if delta is not None:
            mapped = Mapped(self.toc, frames, delta, number, len(self.seeds))
            others = any(seed.named for seed in [*self.seeds[:number], *self.seeds[number + 1 :]])
            if not (mapped.lacking and others):
                return mapped
        return WholeFrames({}, len(self.seeds))

    def _candidates(self, frames: Sequence[int]) -> Iterator[tuple[LoadedDelta, int]]:
        """Yield deltas with the number of a seed that is laid out as their old disk: those known by notes first."""
        deltas = sorted(self.deltas, key=lambda each: each.offer.size)
        for delta in deltas:
            for number, seed in enumerate(self.seeds):
                if seed.toc is not None and seed.toc.disk == delta.offer.source:
                    yield delta, number
        fds = [seed.fd for seed in self.seeds]
        for delta in deltas:
            sample = _sample(self.toc, frames, delta)
            for number in self.numbers:
                if self.seeds[number].toc is None and len(sample) >= _LEAST_SAMPLE:
                    pieces = Mapped(self.toc, sample, delta, number, len(fds)).pieces(sample)
                    wrong = sum(not _is_right(self.toc, *each, fds) for each in zip(sample, pieces, strict=True))
                    if wrong * _MOST_WRONG <= len(sample):
                        yield delta, number


class Mapped:
    """What one seed holds of some frames, by the map of a delta; a :class:`finding.BlockFinding`.

    The name of a block that is lacking is its number among the new blocks of the delta.

    Args:
        toc: of the disk that is pulled.
        frames: those looked for, ascending.
        delta: to that disk.
        seed: the number of the seed that is laid out as the delta's old disk.
        seeds: how many there are.
    """

    taken: frozenset[int] = frozenset()
    cloned = 0

    def __init__(self, toc: Toc, frames: Sequence[int], delta: LoadedDelta, seed: int, seeds: int) -> None:
        self._toc = toc
        self._delta = delta
        self._seed = seed
        self._seeds = seeds
        wanted = np.asarray(frames, dtype=np.int64)
        new = _blocks_of(toc, wanted, delta, Source.NEW)
        self.complete = frozenset(wanted[new == 0].tolist())
        lacking = wanted[new > 0].tolist()
        lengths, sources, _ = self._part(lacking)
        parts = np.split(sources == Source.NEW, np.cumsum(lengths)[:-1])
        self.lacking: dict[int, Numbers] = {
            frame: np.flatnonzero(part) for frame, part in zip(lacking, parts, strict=False)
        }

    def blocks(self, frames: Sequence[int]) -> tuple[list[int], SeedNumbers, Numbers]:
        """Return the number of blocks of each frame, and of all of them the seed and the number there."""
        lengths, sources, numbers = self._part(frames)
        seeds = np.array([self._seed, ZEROS, MISSING], np.int16)[sources]
        # Zeros are numbered on, whatever lies before them.
        return lengths, seeds, np.where(sources == Source.ZEROS, np.arange(len(numbers)), numbers)

    def pieces(self, frames: Sequence[int]) -> list[list[Piece]]:
        """Return the pieces of each of some complete frames."""
        lengths, seeds, numbers = self.blocks(frames)
        return join_groups(seeds, numbers, lengths)

    def names(self, frames: Sequence[int]) -> Hashes:
        """Return which new blocks of the delta some frames lack."""
        _, sources, numbers = self._part(frames)
        names: Hashes = numbers[sources == Source.NEW].astype(np.uint64)
        return names

    def shares(self, frames: Collection[int]) -> list[int]:
        """Return the bytes each seed gives to some frames, but for the blocks they lack."""
        old = _blocks_of(self._toc, np.array([*frames], np.int64), self._delta, Source.OLD)
        return [int(old.sum()) * BLOCK if number == self._seed else 0 for number in range(self._seeds)]

    def with_delta(self, delta: LoadedDelta) -> DeltaPlan | None:
        """Return what the map's own delta would complete: all that is lacking."""
        if delta is not self._delta or not self.lacking:
            return None
        names = self.names(list(self.lacking)).astype(np.int64)
        segments = np.unique(np.searchsorted(delta.index.segment_edges, names, side="right") - 1)
        return DeltaPlan(delta, self, tuple(segments.tolist()), frozenset(self.lacking))

    def reference(self, delta: LoadedDelta) -> Callable[[int], Sequence[Piece]]:
        """Return what gives the pieces of a segment's reference."""
        index = delta.index

        def pieces(segment: int) -> list[Piece]:
            numbers = index.reference[index.reference_of(segment)]
            return join_blocks(np.full(len(numbers), self._seed, np.int16), numbers)

        return pieces

    @staticmethod
    def names_of(delta: LoadedDelta, segment: int, _plain: bytes) -> Hashes:
        """Return the numbers of new blocks."""
        first, stop = delta.index.segment_edges[segment : segment + 2].tolist()
        return np.arange(first, stop, dtype=np.uint64)

    def _part(self, frames: Sequence[int]) -> tuple[list[int], Kinds, Numbers]:
        """Return the number of blocks of each frame, and of all of them the source and the number there."""
        own = np.asarray(frames, dtype=np.int64)
        firsts: Numbers = np.asarray(self._toc.hint_offsets)[own] // HINT_BYTES
        lengths: Numbers = np.asarray(self._toc.blocks)[own].astype(np.int64)
        return lengths.tolist(), *self._delta.index.tiles.at(spread(firsts, lengths))


def _is_right(toc: Toc, frame: int, pieces: Sequence[Piece], seeds: Sequence[int]) -> bool:
    try:
        plain = read_pieces(pieces, seeds, toc.plain_size(frame))
    except StorageError:
        return False
    return bool(hashlib.sha256(plain).digest() == toc.digest(frame))


def _sample(toc: Toc, frames: Sequence[int], delta: LoadedDelta) -> list[int]:
    """Choose frames, spread over the disk, that the map says are made of old blocks and zeros alone."""
    wanted = np.asarray(frames, dtype=np.int64)
    whole = wanted[(_blocks_of(toc, wanted, delta, Source.NEW) == 0) & (_blocks_of(toc, wanted, delta, Source.OLD) > 0)]
    return whole[np.unique(np.linspace(0, len(whole) - 1, _SAMPLE).astype(np.int64))].tolist() if len(whole) else []


def _blocks_of(toc: Toc, frames: Numbers, delta: LoadedDelta, source: Source) -> Numbers:
    """Return how many blocks of each of ``frames`` the map takes from ``source``."""
    counts = delta.index.tiles.count(source, np.asarray(toc.hint_offsets) // HINT_BYTES)
    return np.diff(counts)[frames]
