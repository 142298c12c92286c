"""Blocks found by their hints, in whatever files: those of the new disk, and those that deltas refer to."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from haulout.errors import HauloutError
from haulout.frames import HINT_BYTES, MISSING, Located, SeedIndex, hash_blocks, hint_ranges
from haulout.oci import Descriptor, mediatype

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from haulout.content import BlobReader, BlobStream
    from haulout.fetch.choice import LoadedDelta
    from haulout.frames import Blocks, Hashes, Mask, Numbers, Piece, SeedNumbers, Toc
    from haulout.progress import Progress

_SKIP: Final = 1 << 20


class Hinted:
    """What seeds hold of some frames, by hints; a :class:`reuse.Found`. The name of a block is its hint.

    Args:
        toc: of the disk that is pulled.
        hints: of the frames that are looked for, as far as they could be read.
        scans: the wanted blocks of every seed.
    """

    def __init__(self, toc: Toc, hints: dict[int, Hashes], scans: Sequence[Blocks]) -> None:
        self._toc = toc
        self._seeds = SeedIndex(scans)
        self._places, incomplete = _locate(self._seeds, hints)
        self.lacking = {frame: np.flatnonzero(self._places[frame] == MISSING) for frame in incomplete}
        self.complete = frozenset(frame for frame in hints if frame not in self.lacking)
        self._hints = {frame: hints[frame] for frame in incomplete}
        self._located = cache(self._locate_reference)

    def blocks(self, frames: Sequence[int]) -> tuple[list[int], SeedNumbers, Numbers]:
        """Return the number of blocks of each frame, and of all of them the seed and the number there."""
        places = [self._places[frame] for frame in frames]
        return [len(own) for own in places], *self._seeds.resolve(np.concatenate([np.empty(0, np.int64), *places]))

    def names(self, frames: Sequence[int]) -> Hashes:
        """Return the hints of the blocks that some frames lack."""
        names = (self._hints[frame][self.lacking[frame]] for frame in frames)
        return np.concatenate([np.empty(0, np.uint64), *names])

    def shares(self, frames: Collection[int]) -> list[int]:
        """Return the bytes each seed gives to some frames, but for the blocks they lack."""
        places = [self._places[frame] for frame in frames]
        return self._seeds.shares(np.concatenate([np.empty(0, np.int64), *places]))

    def served(self, delta: LoadedDelta) -> tuple[tuple[int, ...], frozenset[int]]:
        """Return the segments that give blocks which are lacking, and the frames they complete."""
        reference = self._located(delta)
        if reference is None:
            return (), frozenset()
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
        return tuple(segments), frozenset(frame for frame, blocks in own.items() if given[blocks].all())

    def reference(self, delta: LoadedDelta) -> Callable[[int], Sequence[Piece]]:
        """Return what gives the pieces of a segment's reference."""
        reference = self._located(delta)
        return reference.pieces if reference is not None else lambda _segment: ()

    @staticmethod
    def names_of(_delta: LoadedDelta, _segment: int, plain: bytes) -> Hashes:
        """Return the hints of new blocks."""
        return np.asarray(hash_blocks(memoryview(plain)))

    def _locate_reference(self, delta: LoadedDelta) -> Located | None:
        return None if delta.hints is None else Located.of(delta.index, delta.hints, self._seeds)

    def _first_block(self, frame: int) -> int:
        return self._toc.hint_offsets[frame] // HINT_BYTES


def _locate(index: SeedIndex, hints: dict[int, Hashes]) -> tuple[dict[int, Numbers], list[int]]:
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


def read_hints(toc: Toc, frames: list[int], blobs: BlobReader, progress: Progress) -> dict[int, Hashes]:
    """Fetch the hints of ``frames``: parts of a blob, unverified, since hints are never trusted anyway."""
    blob = Descriptor(mediatype.HINTS, toc.hints.digest, toc.hints.size)
    hints: dict[int, Hashes] = {}
    try:
        for first, stop in hint_ranges(toc, frames):
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
        progress.note(f"the hints cannot be read ({error}): local blocks are found by whole frames only")
    return hints
