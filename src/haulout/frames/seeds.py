"""Seeds: finding wanted blocks in local files that may hold them, by their hints.

A scan hashes every stored 4 KiB block and keeps only those that are wanted, so memory follows what is missing, not what
is searched. What is found is a guess: what is made of it is hashed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from haulout.disk import Extent
from haulout.extras import np
from haulout.frames.blocks import BLOCK, ZERO_HINT, hash_blocks
from haulout.frames.pieces import MISSING, ZEROS, Piece, read_seed, stored_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.frames.arrays import Hashes, Mask, Numbers, SeedNumbers
    from haulout.frames.toc import Toc
    from haulout.progress import Task

_STEP: Final = 1 << 20
_EXTENSIONS: Final = 32


class Wanted:
    """The set of hints to look for.

    Args:
        hints: in any order, repetitions allowed; zeros are never looked for.
    """

    def __init__(self, *hints: Hashes) -> None:
        # Not np.unique, which takes ten times as long for hashes.
        joined = np.sort(np.concatenate([np.empty(0, np.uint64), *hints]).astype(np.uint64))
        kept = joined != ZERO_HINT
        kept[1:] &= joined[1:] != joined[:-1]
        self._sorted = joined[kept]

    def __len__(self) -> int:
        return len(self._sorted)

    def among(self, hints: Hashes) -> Mask:
        """Return which of ``hints`` are wanted."""
        return is_member(self._sorted, hints)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Wanted blocks of one file, in the order of the file: their hints and their numbers (offset / 4096)."""

    hints: Hashes
    numbers: Numbers

    def among(self, wanted: Wanted) -> Blocks:
        """Return the wanted ones."""
        kept = wanted.among(self.hints)
        return Blocks(self.hints[kept], self.numbers[kept])

    def __add__(self, other: Blocks) -> Blocks:
        """Return the blocks of two scans of the same file, in the order of the file."""
        numbers = np.concatenate([self.numbers, other.numbers])
        order = np.argsort(numbers, kind="stable")
        return Blocks(np.concatenate([self.hints, other.hints])[order], numbers[order])


def scan(fd: int, wanted: Wanted | None, task: Task, parts: Sequence[Extent] | None = None) -> Blocks:
    """Hash the stored blocks of a file and keep the wanted ones.

    Args:
        fd: open for reading. It may be written to meanwhile: what is found is verified when it is used.
        wanted: what to keep; None: all that are not zeros, at 16 bytes of memory each.
        task: advanced by the stored bytes read.
        parts: where to look, at block boundaries; None: everywhere.

    Raises:
        StorageError: the file cannot be read.
    """
    hints: list[Hashes] = [np.empty(0, np.uint64)]
    numbers: list[Numbers] = [np.empty(0, np.int64)]
    for extent in stored_parts(fd) if parts is None else parts:
        for start in range(extent.offset, extent.end, _STEP):
            data = read_seed(fd, start, min(_STEP, extent.end - start))
            hashes: Hashes = np.asarray(hash_blocks(memoryview(data)))
            kept = np.flatnonzero(hashes != ZERO_HINT if wanted is None else wanted.among(hashes))
            if len(kept):
                hints.append(hashes[kept])
                numbers.append(kept + start // BLOCK)
            task.advance(len(data))
            if len(data) < min(_STEP, extent.end - start):
                break
    return Blocks(np.concatenate(hints), np.concatenate(numbers))


class SeedIndex:
    """Where wanted blocks are: the scans of several seeds, searched together."""

    def __init__(self, scans: Sequence[Blocks]) -> None:
        self._hints = np.concatenate([np.empty(0, np.uint64), *(each.hints for each in scans)])
        self._numbers = np.concatenate([np.empty(0, np.int64), *(each.numbers for each in scans)])
        self._count = len(scans)
        lengths = [len(each.hints) for each in scans]
        self._seeds = np.repeat(np.arange(len(scans), dtype=np.int16), lengths)
        self._order = np.argsort(self._hints, kind="stable")
        self._sorted = self._hints[self._order]

    def locate(self, hints: Hashes) -> Numbers:
        """Return, for each hint, the place of a block that may be it, :data:`ZEROS`, or :data:`MISSING`.

        Of several places one is chosen that continues the block before, so that reads are long.
        """
        places = np.full(len(hints), MISSING, dtype=np.int64)
        if len(self._sorted):
            found = np.minimum(np.searchsorted(self._sorted, hints), len(self._sorted) - 1)
            hit = self._sorted[found] == hints
            places[hit] = self._order[found[hit]]
            self._extend(places, hints)
        places[hints == ZERO_HINT] = ZEROS
        return places

    def _extend(self, places: Numbers, hints: Hashes) -> None:
        last = len(self._hints) - 1
        at = np.flatnonzero((places[:-1] >= 0) & (places[1:] >= 0) & (places[1:] != places[:-1] + 1))
        for _ in range(_EXTENSIONS):
            following = np.minimum(places[at] + 1, last)
            better = (
                (places[at + 1] != following)
                & (self._hints[following] == hints[at + 1])
                & self._adjacent(places[at], following)
            )
            at = at[better] + 1
            if not len(at):
                return
            places[at] = following[better]
            # What was moved may be continued by the block after it.
            at = at[at < len(places) - 1]
            at = at[places[at + 1] >= 0]

    def shares(self, places: Numbers) -> list[int]:
        """Return the bytes each seed gives to the blocks of ``places``."""
        counts = np.bincount(self._seeds[places[places >= 0]], minlength=self._count)
        return [int(count) * BLOCK for count in counts]

    def resolve(self, places: Numbers) -> tuple[SeedNumbers, Numbers]:
        """Return the seed and the block number in it of each place; what is not in a seed is numbered on."""
        seeds = places.astype(np.int16)
        numbers: Numbers = np.arange(len(places), dtype=np.int64)
        found = places >= 0
        seeds[found], numbers[found] = self._seeds[places[found]], self._numbers[places[found]]
        return seeds, numbers

    def pieces(self, places: Numbers) -> list[Piece]:
        """Return the reads that give the blocks of ``places``, none of them :data:`MISSING`, in order."""
        return join_blocks(*self.resolve(places))

    def _adjacent(self, first: Numbers, second: Numbers) -> Mask:
        """Whether each second place is the block after the first; only places of blocks count, not MISSING or ZEROS."""
        if not len(self._numbers):
            return np.zeros(len(first), dtype=np.bool_)
        one, two = np.maximum(first, 0), np.maximum(second, 0)
        flags: Mask = (self._numbers[two] == self._numbers[one] + 1) & (self._seeds[two] == self._seeds[one])
        return flags


def join_blocks(seeds: SeedNumbers, numbers: Numbers) -> list[Piece]:
    """Return the reads that give blocks in order: what lies together is read together.

    Args:
        seeds: of each block, or :data:`ZEROS`.
        numbers: of each block in its seed; of zeros, going on.
    """
    return join_groups(seeds, numbers, [len(seeds)])[0]


def join_groups(seeds: SeedNumbers, numbers: Numbers, lengths: Sequence[int]) -> list[list[Piece]]:
    """Return the reads of several groups of blocks, such as frames; many at once cost little more than one.

    Args:
        seeds: of each block, or :data:`ZEROS`.
        numbers: of each block in its seed; of zeros, going on.
        lengths: blocks of each group.
    """
    edges = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    begins = np.ones(len(seeds), dtype=np.bool_)
    begins[1:] = (seeds[1:] != seeds[:-1]) | (numbers[1:] != numbers[:-1] + 1)
    begins[edges[:-1][edges[:-1] < len(seeds)]] = True
    starts = np.flatnonzero(begins)
    offsets = np.where(seeds[starts] >= 0, numbers[starts] * BLOCK, 0)
    sizes = np.diff(starts, append=len(seeds)) * BLOCK
    rows = zip(seeds[starts].tolist(), offsets.tolist(), sizes.tolist(), strict=True)
    pieces = [Piece(seed, offset, size) for seed, offset, size in rows]
    return [pieces[first:stop] for first, stop in pairwise(np.searchsorted(starts, edges).tolist())]


def known_parts(known: Toc, toc: Toc, *, shared: bool) -> list[Extent]:
    """Return where on the disk of ``known`` the data frames lie that ``toc`` holds by digest, or those it does not."""
    frames = known.data_frames
    parts: list[Extent] = []
    for frame, place in zip(frames, same_frames(known, frames, toc).tolist(), strict=True):
        if (place != MISSING) != shared:
            continue
        start, end = known.disk_offsets[frame], known.disk_offsets[frame + 1]
        if parts and parts[-1].end == start:
            start = parts.pop().offset
        parts.append(Extent(start, end - start))
    return parts


def same_frames(toc: Toc, frames: Sequence[int], known: Toc) -> Numbers:
    """Return, for each of ``frames``, where on the disk of ``known`` a frame of the same digest lies, or MISSING."""
    wanted = np.asarray(frames, dtype=np.int64)
    places = np.full(len(wanted), MISSING, dtype=np.int64)
    theirs: Numbers = np.array(known.data_frames, np.int64)
    if not len(theirs) or not len(wanted):
        return places
    # The first eight bytes find a digest; the rest is compared where they do.
    own, other = _digests(toc)[wanted], _digests(known)[theirs]
    order = np.argsort(other[:, 0])
    found = order[np.minimum(np.searchsorted(other[order, 0], own[:, 0]), len(order) - 1)]
    same = (other[found] == own).all(axis=1)
    places[same] = np.asarray(known.disk_offsets)[theirs[found[same]]]
    return places


def _digests(toc: Toc) -> Hashes:
    """Return the digests of all frames, each as a row of four numbers."""
    return np.frombuffer(toc.sha256, "<u8").reshape(-1, 4)


def is_member(ascending: Hashes, values: Hashes) -> Mask:
    """Return which of ``values`` are among the others."""
    if not len(ascending):
        return np.zeros(len(values), dtype=np.bool_)
    found = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    mask: Mask = ascending[found] == values
    return mask
