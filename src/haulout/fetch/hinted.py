"""Blocks found by their hints, in any file: those of the new disk, and those that deltas refer to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from haulout.errors import HauloutError
from haulout.extras import np
from haulout.fetch.background import BackgroundCall
from haulout.fetch.deltas import hints_of
from haulout.fetch.finding import DeltaPlan, WholeFrames
from haulout.fetch.search import Search
from haulout.frames import (
    HINT_BYTES,
    MISSING,
    Located,
    SeedIndex,
    Wanted,
    hash_blocks,
    hint_ranges,
    join_groups,
    stored_bytes,
)
from haulout.oci import Descriptor, mediatype

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from haulout.content import BlobReader, BlobStream
    from haulout.fetch.bandwidth import MeasuringReader
    from haulout.fetch.finding import Finding, LoadedDelta
    from haulout.fetch.seeds import Seed
    from haulout.frames import Blocks, Hashes, Mask, Numbers, Piece, SeedNumbers, Toc
    from haulout.progress import Progress

_SKIP: Final = 1 << 20
_MOST_HINTS: Final = 512 * 1024 * 1024
"""Bytes of hints held at most: those of 256 GiB that would all be new."""
_LEAST_RETURN: Final = 4
"""Stored bytes of all seeds, for each byte of hints, from which on searching them may save more than it costs."""


@dataclass(frozen=True, slots=True)
class HintFinder:
    """Fetches the hints of frames, and looks for blocks of those hints in seeds; a :class:`finding.Finder`."""

    toc: Toc
    """Of the disk that is pulled."""
    deltas: Sequence[LoadedDelta]
    """Their old blocks are looked for, too, so that they can be decoded."""
    seeds: Sequence[Seed]
    numbers: Sequence[int]
    """Of the seeds that are searched."""
    blobs: MeasuringReader
    """Where the hints are."""
    progress: Progress

    def find(self, frames: Sequence[int]) -> Finding:
        """Look for blocks of ``frames``, where what may be found is worth fetching the hints."""
        if not self._may_pay(frames):
            return WholeFrames({}, len(self.seeds))
        size = self.toc.blob_bytes(frames)
        asked = BackgroundCall(lambda: hints_of(self.blobs, self.deltas, size, self.progress), "hints of deltas")
        search = Search(self.toc, self.seeds, self.numbers, self.progress)
        try:
            hints = read_hints(self.toc, frames, self.blobs, self.progress)
            references = asked.result()
            wanted = Wanted(*references.values(), *hints.values())
            scans = search.finish(wanted, {delta.offer.source for delta in self.deltas})
        except Exception:
            # A caller that cancels finds no thread left; Ctrl-C does not wait.
            with suppress(Exception):
                asked.result()
            raise
        finally:
            search.abandon()
        return Hinted(self.toc, hints, scans, references)

    def _may_pay(self, frames: Sequence[int]) -> bool:
        """Whether the seeds hold enough for their blocks to be worth the hints, and the hints are not too many."""
        hints = self.toc.hint_bytes(frames)
        # The one request that the hints take at least is worth a few small frames.
        if self.toc.blob_bytes(frames) <= self.blobs.bandwidth().cost(hints, 1, 1):
            return False
        return hints <= _MOST_HINTS and may_hold(self.seeds, hints)


def may_hold(seeds: Sequence[Seed], hints: int) -> bool:
    """Return whether seeds are so large that searching them may save more than ``hints`` bytes of hints cost."""
    return sum(stored_bytes(seed.fd) for seed in seeds) > _LEAST_RETURN * hints


class Hinted:
    """What seeds hold of some frames, by hints; a :class:`finding.BlockFinding`. The name of a block is its hint.

    Args:
        toc: of the disk that is pulled.
        hints: of the frames that are looked for, as far as they could be read.
        scans: the wanted blocks of every seed.
        references: the hints of the blocks that deltas refer to.
    """

    taken: frozenset[int] = frozenset()
    cloned = 0

    def __init__(
        self,
        toc: Toc,
        hints: Mapping[int, Hashes],
        scans: Sequence[Blocks],
        references: Mapping[LoadedDelta, Hashes],
    ) -> None:
        self._toc = toc
        self._seeds = SeedIndex(scans)
        self._references = references
        self._places, incomplete = _locate(self._seeds, hints)
        self.lacking = {frame: np.flatnonzero(self._places[frame] == MISSING) for frame in incomplete}
        self.complete = frozenset(frame for frame in hints if frame not in self.lacking)
        self._hints = {frame: hints[frame] for frame in incomplete}
        self._located = cache(self._locate_reference)

    def blocks(self, frames: Sequence[int]) -> tuple[list[int], SeedNumbers, Numbers]:
        """Return the number of blocks of each frame, and of all of them the seed and the number there."""
        places = [self._places[frame] for frame in frames]
        return [len(own) for own in places], *self._seeds.resolve(np.concatenate([np.empty(0, np.int64), *places]))

    def pieces(self, frames: Sequence[int]) -> list[list[Piece]]:
        """Return the pieces of each of some complete frames."""
        lengths, seeds, numbers = self.blocks(frames)
        return join_groups(seeds, numbers, lengths)

    def names(self, frames: Sequence[int]) -> Hashes:
        """Return the hints of the blocks that some frames lack."""
        names = (self._hints[frame][self.lacking[frame]] for frame in frames)
        return np.concatenate([np.empty(0, np.uint64), *names])

    def shares(self, frames: Collection[int]) -> list[int]:
        """Return the bytes each seed gives to some frames, but for the blocks they lack."""
        places = [self._places[frame] for frame in frames]
        return self._seeds.shares(np.concatenate([np.empty(0, np.int64), *places]))

    def with_delta(self, delta: LoadedDelta) -> DeltaPlan | None:
        """Return what a delta would complete, by the segments whose old blocks are here."""
        reference = self._located(delta)
        if reference is None:
            return None
        lacking: Mask = np.zeros(self._toc.hints.size // HINT_BYTES, dtype=np.bool_)
        own = {frame: self._first_block(frame) + blocks for frame, blocks in self.lacking.items()}
        for blocks in own.values():
            lacking[blocks] = True
        given: Mask = np.zeros(len(lacking), dtype=np.bool_)
        segments: list[int] = []
        for number in reference.usable():
            blocks = delta.index.blocks_of(number)
            if lacking[blocks].any():
                segments.append(number)
                given[blocks] = True
        covered = frozenset(frame for frame, blocks in own.items() if given[blocks].all())
        return DeltaPlan(delta, self, tuple(segments), covered) if covered else None

    def reference(self, delta: LoadedDelta) -> Callable[[int], Sequence[Piece]]:
        """Return what gives the pieces of a segment's reference."""
        reference = self._located(delta)
        return reference.pieces if reference is not None else lambda _segment: ()

    @staticmethod
    def names_of(_delta: LoadedDelta, _segment: int, plain: bytes) -> Hashes:
        """Return the hints of new blocks."""
        return np.asarray(hash_blocks(memoryview(plain)))

    def _locate_reference(self, delta: LoadedDelta) -> Located | None:
        hints = self._references.get(delta)
        return None if hints is None else Located.of(delta.index, hints, self._seeds)

    def _first_block(self, frame: int) -> int:
        return self._toc.hint_offsets[frame] // HINT_BYTES


def _locate(index: SeedIndex, hints: Mapping[int, Hashes]) -> tuple[dict[int, Numbers], list[int]]:
    """Return where the blocks of each frame are, and which frames lack some."""
    if not hints:
        return {}, []
    places = index.locate(np.concatenate(list(hints.values())))
    ends = np.cumsum([len(own) for own in hints.values()])
    lacking = np.logical_or.reduceat(places == MISSING, np.concatenate([[0], ends[:-1]]))
    frames = np.array(list(hints))[lacking].tolist()
    return dict(zip(hints, np.split(places, ends[:-1]), strict=True)), frames


def _read_from(stream: BlobStream, begin: int, end: int) -> bytes:
    """Read bytes ``[begin, end)``, without keeping what a server that ignores ranges sends before them."""
    position = stream.start
    while position < begin and (skipped := len(stream.read(min(_SKIP, begin - position)))):
        position += skipped
    return stream.read(end - position)


def read_hints(toc: Toc, frames: Sequence[int], blobs: BlobReader, progress: Progress) -> dict[int, Hashes]:
    """Fetch the hints of ``frames``: parts of a blob, unverified, since hints are never trusted anyway."""
    blob = Descriptor(mediatype.HINTS, toc.hints.digest, toc.hints.size)
    hints: dict[int, Hashes] = {}
    try:
        for first, stop in hint_ranges(toc, list(frames)):
            begin, end = toc.hint_offsets[frames[first]], toc.hint_offsets[frames[stop - 1] + 1]
            with blobs.open_blob(blob, begin, end) as stream:
                data = _read_from(stream, begin, end)
            values = np.frombuffer(data, "<u8", len(data) // HINT_BYTES)
            for frame in frames[first:stop]:
                at = (toc.hint_offsets[frame] - begin) // HINT_BYTES
                own = values[at : at + toc.blocks[frame]]
                if len(own) == toc.blocks[frame]:
                    hints[frame] = own
    except HauloutError as error:
        progress.note(f"cannot read the hints ({error}); reusing whole frames only")
    return hints
