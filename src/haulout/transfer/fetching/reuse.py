"""Which frames of a disk can be rebuilt from local files: by the digests of earlier pulls first, then by hints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from haulout.chunked.plan import HINT_BYTES, hint_ranges
from haulout.chunked.seeds import MISSING, Piece, SeedIndex, Wanted, same_frames
from haulout.chunked.survey import frames_in_place
from haulout.errors import HauloutError
from haulout.oci import Descriptor, mediatype
from haulout.transfer.fetching.aside import Aside
from haulout.transfer.fetching.search import NOTHING, Search, searchable_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from haulout.chunked.blocks import Hashes
    from haulout.chunked.plan import Link
    from haulout.chunked.seeds import Blocks, Numbers, SeedNumbers
    from haulout.chunked.toc import Toc
    from haulout.content.ports import BlobReader, BlobStream
    from haulout.progress import Progress
    from haulout.transfer.fetching.choice import DeltaChoice
    from haulout.transfer.fetching.seeds import Seed

_MOST_SCANNED: Final = 3
"""Seeds nobody named whose blocks are hashed; digests alone are compared with those of all."""

_MOST_HINTS: Final = 512 * 1024 * 1024
"""Bytes of hints held at most: those of 256 GiB that would all be new."""
_LEAST_RETURN: Final = 4
"""Stored bytes of all seeds, for each byte of hints, from which on searching them may save more than it costs."""
_SKIP: Final = 1 << 20
_SAMPLE: Final = 32
_LEAST_UNMOVED: Final = 16 << 20
"""Plain bytes whose hints (32 KiB) are worth comparing frames in place first."""


@dataclass(frozen=True)
class Reuse:
    """What seeds give; all of it is verified when it is used."""

    frames: list[int]
    """Frames to rebuild, ascending."""
    missing: list[int]
    """Frames to fetch, ascending."""
    index: SeedIndex
    """The wanted blocks of the seeds."""
    lacking: dict[int, Numbers]
    """Of frames that are missing though their hints are known: which of their blocks were not found."""
    _whole: dict[int, Piece]
    """Where frames were found whole."""
    _hints: dict[int, Hashes]
    """Of the frames that lack blocks."""
    _places: dict[int, Numbers]
    """Where the blocks of other frames are, by hints."""

    @classmethod
    def find(
        cls,
        toc: Toc,
        wanted: list[int],
        blobs: BlobReader,
        seeds: Sequence[Seed],
        progress: Progress,
        deltas: DeltaChoice,
        link: Link,
        *,
        folder: Path | None,
    ) -> Self:
        """Look for the frames ``wanted`` in ``seeds``.

        Args:
            toc: of the disk that is pulled.
            wanted: data frames, ascending.
            blobs: where the hints are.
            seeds: in the order their numbers follow.
            progress: told of the search.
            deltas: says which old blocks to look for, so that a delta can be decoded.
            link: the way to the registry.
            folder: where seeds that are used may become snapshots; None: they stay what they are.
        """
        whole = _whole_frames(toc, wanted, seeds)
        chosen = _worth_searching(seeds, whole)
        if folder is not None:
            for number in {*chosen, *(piece.seed for piece in whole.values())}:
                seeds[number].settle(folder)
        whole |= _unmoved_frames(toc, [frame for frame in wanted if frame not in whole], seeds, chosen, progress)
        rest = [frame for frame in wanted if frame not in whole]
        scans = (NOTHING,) * len(seeds)
        hints: dict[int, Hashes] = {}
        if rest and _may_pay(toc, rest, seeds, link):
            asked = Aside(lambda: deltas.load(rest), "deltas")
            search = Search(toc, seeds, chosen, progress)
            try:
                hints = _read_hints(toc, rest, blobs, progress)
                asked.result()
                scans = search.finish(Wanted(deltas.reference_hints(), *hints.values()), deltas.sources())
            finally:
                search.abandon()
        return cls._located(wanted, whole, hints, scans)

    @classmethod
    def _located(
        cls, wanted: list[int], whole: dict[int, Piece], hints: dict[int, Hashes], scans: tuple[Blocks, ...]
    ) -> Self:
        index = SeedIndex(scans)
        places, incomplete = _locate(index, hints)
        lacking = {frame: np.flatnonzero(places[frame] == MISSING) for frame in incomplete}
        frames = [frame for frame in wanted if frame in whole or (frame in places and frame not in lacking)]
        missing = [frame for frame in wanted if frame in lacking or (frame not in whole and frame not in places)]
        return cls(frames, missing, index, lacking, whole, {frame: hints[frame] for frame in lacking}, places)

    def pieces(self, frame: int) -> list[Piece]:
        """Return the pieces of one of :attr:`frames`."""
        piece = self._whole.get(frame)
        return [piece] if piece is not None else self.index.pieces(self._places[frame])

    def blocks(self, frame: int) -> tuple[SeedNumbers, Numbers]:
        """Return the seed and the number in it of each block of one of the frames that are lacking some."""
        return self.index.resolve(self._places[frame])

    def lacking_hints(self, frame: int) -> Hashes:
        """Return the hints of the blocks that a frame lacks."""
        return self._hints[frame][self.lacking[frame]]

    def expected(self) -> list[int]:
        """Return the plain bytes each seed will give, if all goes well."""
        places = (own for frame, own in self._places.items() if frame not in self.lacking)
        used = self.index.shares(np.concatenate([np.empty(0, np.int64), *places]))
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


def _unmoved_frames(
    toc: Toc, frames: list[int], seeds: Sequence[Seed], numbers: Sequence[int], progress: Progress
) -> dict[int, Piece]:
    """Find frames at their own place in a seed of unknown content, as after an upgrade in place, without their hints.

    A few are tried first: in a disk that was built afresh, hardly any is where it was.
    """
    found: dict[int, Piece] = {}
    for number in numbers:
        rest = [frame for frame in frames if frame not in found]
        seed = seeds[number]
        if seed.toc is not None or int(toc.plain_sizes[rest].sum(dtype=np.uint64)) < _LEAST_UNMOVED:
            continue
        sample = rest[:: max(len(rest) // _SAMPLE, 1)]
        if 2 * len(frames_in_place(seed.fd, toc, sample)) < len(sample):
            continue
        with progress.task(f"comparing {seed.path.name}", int(toc.plain_sizes[rest].sum(dtype=np.uint64))) as task:
            same = frames_in_place(seed.fd, toc, rest, task)
        found |= {frame: Piece(number, int(toc.disk_offsets[frame]), toc.plain_size(frame)) for frame in same}
    return found


def _worth_searching(seeds: Sequence[Seed], whole: dict[int, Piece]) -> list[int]:
    """Choose the seeds the user named, and a few others: what shares most with the disk, then what is not known."""
    given = [0] * len(seeds)
    for piece in whole.values():
        given[piece.seed] += piece.length
    others = [number for number, seed in enumerate(seeds) if not seed.named]
    others.sort(key=lambda number: -given[number])
    return sorted({*others[:_MOST_SCANNED], *(number for number, seed in enumerate(seeds) if seed.named)})


def _locate(index: SeedIndex, hints: dict[int, Hashes]) -> tuple[dict[int, Numbers], list[int]]:
    """Return where the blocks of each frame are, and which frames lack some."""
    if not hints:
        return {}, []
    places = index.locate(np.concatenate(list(hints.values())))
    ends = np.cumsum([len(own) for own in hints.values()])
    lacking = np.logical_or.reduceat(places == MISSING, np.concatenate([[0], ends[:-1]]))
    frames = np.array(list(hints))[lacking].tolist()
    return dict(zip(hints, np.split(places, ends[:-1]), strict=True)), frames


def _may_pay(toc: Toc, frames: list[int], seeds: Sequence[Seed], link: Link) -> bool:
    """Whether the seeds hold enough for their blocks to be worth the hints, and the hints are not too many."""
    hints = int((toc.hint_offsets[np.array(frames) + 1] - toc.hint_offsets[frames]).sum())
    # The one request that the hints take at least is worth a few small frames.
    if int(toc.compressed[frames].sum(dtype=np.uint64)) <= link.cost(hints, 1, 1):
        return False
    return hints <= _MOST_HINTS and searchable_bytes(seeds) > _LEAST_RETURN * hints


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
