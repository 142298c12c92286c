"""Which frames of a disk can be rebuilt from local files: by the digests of earlier pulls first, then by hints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from haulout.chunked.plan import HINT_BYTES, hint_ranges
from haulout.chunked.seeds import (
    MISSING,
    Blocks,
    Piece,
    SeedIndex,
    Wanted,
    same_frames,
    scan,
    stored_bytes,
    stored_parts,
    unshared_parts,
)
from haulout.errors import HauloutError, StorageError
from haulout.oci import Descriptor, mediatype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.chunked.blocks import Hashes
    from haulout.chunked.seeds import Numbers
    from haulout.chunked.toc import Toc
    from haulout.content.ports import BlobReader, BlobStream
    from haulout.disk.sparse import Extent
    from haulout.progress import Progress, Task
    from haulout.transfer.fetching.choice import DeltaChoice
    from haulout.transfer.fetching.seeds import Seed

_MOST_SCANNED: Final = 3
"""Seeds nobody named whose blocks are hashed; digests alone are compared with those of all."""

_MOST_HINTS: Final = 512 * 1024 * 1024
"""Bytes of hints held at most: those of 256 GiB that would all be new."""
_LEAST_RETURN: Final = 4
"""Stored bytes of all seeds, for each byte of hints, from which on searching them may save more than it costs."""
_SKIP: Final = 1 << 20

_NOTHING: Final = Blocks(np.empty(0, np.uint64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Reuse:
    """What seeds give; all of it is verified when it is used."""

    frames: list[int]
    """Frames to rebuild, ascending."""
    missing: list[int]
    """Frames to fetch, ascending."""
    index: SeedIndex
    """The wanted blocks of the seeds."""
    _whole: dict[int, Piece]
    """Where frames were found whole, by digest."""
    _hints: dict[int, Hashes]
    """Of the other frames, as far as they could be read."""
    _places: dict[int, Numbers]
    """Where all blocks of a frame were found, by hints."""
    lacking: dict[int, Numbers]
    """Of frames that are missing though their hints are known: which of their blocks were not found."""
    _scans: tuple[Blocks, ...]

    @classmethod
    def find(
        cls,
        toc: Toc,
        wanted: list[int],
        blobs: BlobReader,
        seeds: Sequence[Seed],
        progress: Progress,
        deltas: DeltaChoice,
    ) -> Self:
        """Look for the frames ``wanted`` in ``seeds``.

        Args:
            toc: of the disk that is pulled.
            wanted: data frames, ascending.
            blobs: where the hints are.
            seeds: in the order their numbers follow.
            progress: told of the search.
            deltas: says which old blocks to look for, so that a delta can be decoded.
        """
        whole = _whole_frames(toc, wanted, seeds)
        rest = [frame for frame in wanted if frame not in whole]
        scans = (_NOTHING,) * len(seeds)
        hints: dict[int, Hashes] = {}
        if rest and _may_pay(toc, rest, seeds):
            hints = _read_hints(toc, rest, blobs, progress)
            looked_for = Wanted(deltas.reference_hints(rest), *hints.values())
            # Of a disk whose table is known, what both disks hold as whole frames is not read; a delta may refer to it.
            known = {n: s.toc for n, s in enumerate(seeds) if s.toc is not None and s.toc.disk not in deltas.sources()}
            parts = {
                number: stored_parts(seed.fd) if number not in known else unshared_parts(known[number], toc)
                for number, seed in _worth_scanning(seeds, whole)
            }
            scans = _scan(looked_for, seeds, parts, progress)
        return cls._located(wanted, whole, hints, scans)

    @classmethod
    def _located(
        cls, wanted: list[int], whole: dict[int, Piece], hints: dict[int, Hashes], scans: tuple[Blocks, ...]
    ) -> Self:
        index = SeedIndex(scans)
        places, lacking = _locate(index, hints)
        frames = [frame for frame in wanted if frame in whole or frame in places]
        missing = [frame for frame in wanted if frame not in whole and frame not in places]
        return cls(frames, missing, index, whole, hints, places, lacking, scans)

    def with_seed(self, fd: int, task: Task) -> Self:
        """Return what can be reused when the file at ``fd`` is one more seed, the last."""
        hints = {frame: self._hints[frame] for frame in self.lacking}
        # Behind the others, it leaves their places as they are.
        scans = (*self._scans, scan(fd, Wanted(*hints.values()), task))
        index = SeedIndex(scans)
        places, lacking = _locate(index, hints)
        frames = sorted([*self.frames, *places])
        missing = [frame for frame in self.missing if frame not in places]
        return type(self)(frames, missing, index, self._whole, self._hints, {**self._places, **places}, lacking, scans)

    def pieces(self, frame: int) -> list[Piece]:
        """Return the pieces of one of :attr:`frames`."""
        piece = self._whole.get(frame)
        return [piece] if piece is not None else self.index.pieces(self._places[frame])

    def expected(self) -> list[int]:
        """Return the plain bytes each seed will give, if all goes well."""
        used = self.index.shares(np.concatenate([np.empty(0, np.int64), *self._places.values()]))
        for piece in self._whole.values():
            used[piece.seed] += piece.length
        return used


def _whole_frames(toc: Toc, wanted: list[int], seeds: Sequence[Seed]) -> dict[int, Piece]:
    found: dict[int, Piece] = {}
    for number, seed in enumerate(seeds):
        if seed.toc is None:
            continue
        rest = [frame for frame in wanted if frame not in found]
        for frame, place in zip(rest, same_frames(toc, rest, seed.toc).tolist(), strict=True):
            if place != MISSING:
                found[frame] = Piece(number, place, toc.plain_size(frame))
    return found


def _worth_scanning(seeds: Sequence[Seed], whole: dict[int, Piece]) -> list[tuple[int, Seed]]:
    """Choose the seeds the user named, and a few others: what shares most with the disk, then what is not known."""
    given = [0] * len(seeds)
    for piece in whole.values():
        given[piece.seed] += piece.length
    others = [number for number, seed in enumerate(seeds) if not seed.named]
    others.sort(key=lambda number: -given[number])
    chosen = {*others[:_MOST_SCANNED], *(number for number, seed in enumerate(seeds) if seed.named)}
    return [(number, seeds[number]) for number in sorted(chosen)]


def _scan(
    wanted: Wanted, seeds: Sequence[Seed], parts: dict[int, list[Extent]], progress: Progress
) -> tuple[Blocks, ...]:
    scans = [_NOTHING] * len(seeds)
    for number, extents in parts.items():
        seed = seeds[number]
        try:
            with progress.task(f"searching {seed.path.name}", sum(part.length for part in extents)) as task:
                scans[number] = scan(seed.fd, wanted, task, extents)
        except StorageError as error:
            progress.note(f"{seed.path} cannot be searched for known blocks: {error}")
    return tuple(scans)


def _locate(index: SeedIndex, hints: dict[int, Hashes]) -> tuple[dict[int, Numbers], dict[int, Numbers]]:
    """Return where the blocks of each frame are, and, where not all were found, which were not."""
    if not hints:
        return {}, {}
    places = index.locate(np.concatenate(list(hints.values())))
    found: dict[int, Numbers] = {}
    lacking: dict[int, Numbers] = {}
    position = 0
    for frame, own in hints.items():
        part = places[position : position + len(own)]
        position += len(own)
        not_found = np.flatnonzero(part == MISSING)
        if len(not_found):
            lacking[frame] = not_found
        else:
            found[frame] = part
    return found, lacking


def _may_pay(toc: Toc, frames: list[int], seeds: Sequence[Seed]) -> bool:
    """Whether the seeds hold enough for their blocks to be worth the hints, and the hints are not too many."""
    hints = int((toc.hint_offsets[np.array(frames) + 1] - toc.hint_offsets[frames]).sum())
    return hints <= _MOST_HINTS and sum(stored_bytes(seed.fd) for seed in seeds) > _LEAST_RETURN * hints


def _read_from(stream: BlobStream, begin: int, end: int) -> bytes:
    """Read bytes ``[begin, end)``, without keeping what a server that ignores ranges sends before them."""
    position = stream.start
    while position < begin and (skipped := len(stream.read(min(_SKIP, begin - position)))):
        position += skipped
    return stream.read(end - position)


def _read_hints(toc: Toc, frames: list[int], blobs: BlobReader, progress: Progress) -> dict[int, Hashes]:
    """Fetch the hints of ``frames``: parts of a blob, unverified, since hints are never trusted anyway."""
    blob = Descriptor(mediatype.HINTS, toc.hints.digest, toc.hints.size)
    hints: dict[int, Hashes] = {}
    try:
        for first, stop in hint_ranges(toc, frames):
            begin, end = int(toc.hint_offsets[frames[first]]), int(toc.hint_offsets[frames[stop - 1] + 1])
            with blobs.open_blob(blob, begin, end) as stream:
                data = _read_from(stream, begin, end)
            values = np.frombuffer(data, "<u8", len(data) // HINT_BYTES)
            for frame in frames[first:stop]:
                at = (int(toc.hint_offsets[frame]) - begin) // HINT_BYTES
                own = values[at : at + int(toc.blocks[frame])]
                if len(own) == int(toc.blocks[frame]):
                    hints[frame] = own
    except HauloutError as error:
        progress.note(f"the hints cannot be read ({error}): local blocks are found by whole frames only")
    return hints
