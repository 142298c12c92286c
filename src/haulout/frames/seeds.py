"""Seeds: finding wanted blocks in local files that may hold them, by their hints.

Any file will do: an older disk, another format of it, another machine's. A scan hashes every stored 4 KiB block and
keeps only those that are wanted, so memory follows what is missing, not what is searched. What is found is a guess:
whoever uses it hashes what it made of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from haulout.disk import Extent, data_extents
from haulout.errors import StorageError
from haulout.frames.blocks import BLOCK, ZERO_HINT, Hashes, hash_blocks
from haulout.frames.framing import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from haulout.frames.toc import Toc
    from haulout.progress import Task

Numbers = npt.NDArray[np.int64]
SeedNumbers = npt.NDArray[np.int16]
Flags = npt.NDArray[np.bool_]

MISSING: Final = -1
"""In a :data:`Numbers` array of places: no seed has the block."""
ZEROS: Final = -2
"""In a :data:`Numbers` array of places: the block is all zeros, which needs no seed."""

_STEP: Final = 1 << 20
_EXTENSIONS: Final = 32


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bytes of one seed; ``seed`` is its number in the order of scanning, or :data:`ZEROS` for zeros."""

    seed: int
    offset: int
    length: int


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

    def among(self, hints: Hashes) -> Flags:
        """Return which of ``hints`` are wanted."""
        return _contains(self._sorted, hints)


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
        fd: open for reading. It may be written to meanwhile: what is found is verified by whoever uses it.
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
            hashes = hash_blocks(memoryview(data))
            kept = np.flatnonzero(hashes != ZERO_HINT if wanted is None else wanted.among(hashes))
            if len(kept):
                hints.append(hashes[kept].astype(np.uint64))
                numbers.append(kept + start // BLOCK)
            task.advance(len(data))
            if len(data) < min(_STEP, extent.end - start):
                break
    return Blocks(np.concatenate(hints), np.concatenate(numbers))


def read_seed(fd: int, offset: int, length: int) -> bytes:
    """Read from a seed; fewer bytes where it has become shorter.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        data = os.pread(fd, length, offset)
        while data and len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
            data += more
    except OSError as error:
        raise _unreadable(fd, error) from error
    return data


def _unreadable(fd: int, error: OSError) -> StorageError:
    return StorageError(f"/dev/fd/{fd}", f"cannot be read: {(error.strerror or str(error)).lower()}")


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

    def _adjacent(self, first: Numbers, second: Numbers) -> Flags:
        """Whether each second place is the block after the first; only places of blocks count, not MISSING or ZEROS."""
        if not len(self._numbers):
            return np.zeros(len(first), dtype=np.bool_)
        one, two = np.maximum(first, 0), np.maximum(second, 0)
        flags: Flags = (self._numbers[two] == self._numbers[one] + 1) & (self._seeds[two] == self._seeds[one])
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


def read_pieces(pieces: Sequence[Piece], seeds: Sequence[int], size: int) -> bytes | bytearray:
    """Return ``size`` bytes gathered from seeds; zeros stand for what a seed no longer has.

    Args:
        pieces: in order; the last may reach past ``size``, which ends within a block.
        seeds: descriptors, by seed number.
        size: bytes wanted.

    Raises:
        StorageError: a seed cannot be read.
    """
    if len(pieces) == 1 and pieces[0].seed != ZEROS and pieces[0].length >= size:
        return read_seed(seeds[pieces[0].seed], pieces[0].offset, size).ljust(size, b"\0")
    data = bytearray(size)
    with memoryview(data) as view:
        fill(view, pieces, seeds)
    return data


def fill(view: memoryview, pieces: Iterable[Piece], seeds: Sequence[int]) -> None:
    """Fill all of ``view`` with what seeds hold; zeros stand for what a seed no longer has, and for what is left.

    Args:
        view: to be overwritten.
        pieces: in order; the last may reach past the view, which ends within a block.
        seeds: descriptors, by seed number.

    Raises:
        StorageError: a seed cannot be read.
    """
    at = 0
    for piece in pieces:
        end = min(at + piece.length, len(view))
        if piece.seed != ZEROS:
            fd, behind = seeds[piece.seed], piece.offset - at
            try:
                while at < end and (read := os.preadv(fd, [view[at:end]], at + behind)):
                    at += read
            except OSError as error:
                raise _unreadable(fd, error) from error
        view[at:end] = bytes(end - at)
        at = end
    view[at:] = bytes(len(view) - at)


def stored_parts(fd: int) -> list[Extent]:
    """Return where a file holds data."""
    return list(data_extents(fd, os.fstat(fd).st_size))


def stored_bytes(fd: int) -> int:
    """Return how many bytes a scan of all of the file reads."""
    return sum(part.length for part in stored_parts(fd))


def known_parts(known: Toc, toc: Toc, *, shared: bool) -> list[Extent]:
    """Return where on the disk of ``known`` the data frames lie that ``toc`` holds by digest, or those it does not."""
    frames = np.flatnonzero(known.kinds == Kind.DATA)
    held = same_frames(known, frames.tolist(), toc) != MISSING
    parts: list[Extent] = []
    for frame in frames[held == shared].tolist():
        start, end = int(known.disk_offsets[frame]), int(known.disk_offsets[frame + 1])
        if parts and parts[-1].end == start:
            start = parts.pop().offset
        parts.append(Extent(start, end - start))
    return parts


def same_frames(toc: Toc, frames: Sequence[int], known: Toc) -> Numbers:
    """Return, for each of ``frames``, where on the disk of ``known`` a frame of the same digest lies, or MISSING."""
    wanted = np.asarray(frames, dtype=np.int64)
    places = np.full(len(wanted), MISSING, dtype=np.int64)
    theirs = np.flatnonzero(known.kinds == Kind.DATA)
    if not len(theirs) or not len(wanted):
        return places
    # The first eight bytes find a digest; the rest is compared where they do.
    keys = _keys(known, theirs)
    order = np.argsort(keys)
    found = order[np.minimum(np.searchsorted(keys[order], _keys(toc, wanted)), len(order) - 1)]
    same = (known.sha256[theirs[found]] == toc.sha256[wanted]).all(axis=1)
    places[same] = known.disk_offsets[theirs[found[same]]].astype(np.int64)
    return places


def _keys(toc: Toc, frames: Numbers) -> Hashes:
    return np.ascontiguousarray(toc.sha256[frames][:, :8]).view("<u8").ravel()


def _contains(ascending: Hashes, values: Hashes) -> Flags:
    if not len(ascending):
        return np.zeros(len(values), dtype=np.bool_)
    found = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    flags: Flags = ascending[found] == values
    return flags
