"""Which frames of a disk can be rebuilt from local files.

By the digests of earlier pulls first; then by the map of a published delta, where a file holds the old disk as it was
published; else by hints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from haulout.fetch.background import Aside
from haulout.fetch.hinted import Hinted, read_hints
from haulout.fetch.mapped import Mapped
from haulout.fetch.search import NOTHING, Search, searchable_bytes
from haulout.frames import MISSING, Piece, Wanted, join_groups, same_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from haulout.content import BlobReader
    from haulout.fetch.choice import DeltaChoice, LoadedDelta
    from haulout.fetch.inplace import InPlace
    from haulout.fetch.seeds import Seed
    from haulout.frames import Hashes, Link, Numbers, SeedNumbers, Toc
    from haulout.progress import Progress

_MOST_SCANNED: Final = 3
"""Seeds nobody named whose blocks are hashed; digests alone are compared with those of all."""

_MOST_HINTS: Final = 512 * 1024 * 1024
"""Bytes of hints held at most: those of 256 GiB that would all be new."""
_LEAST_RETURN: Final = 4
"""Stored bytes of all seeds, for each byte of hints, from which on searching them may save more than it costs."""


class Found(Protocol):
    """Where the blocks of frames are that no file holds whole.

    Blocks have names, by which those that are lacking are known again when a delta gives them; what a name is, is the
    finder's own business.
    """

    complete: frozenset[int]
    """Frames of which every block is here."""
    lacking: dict[int, Numbers]
    """Of other frames whose blocks are known: which of them are not here."""

    def blocks(self, frames: Sequence[int]) -> tuple[list[int], SeedNumbers, Numbers]:
        """Return how many blocks each of some frames has, and of all of them the seed and the number there.

        Of blocks that are lacking, anything.
        """

    def names(self, frames: Sequence[int]) -> Hashes:
        """Return the names of the blocks that some frames lack, one after another."""

    def shares(self, frames: Collection[int]) -> list[int]:
        """Return the bytes each seed gives to some frames, but for the blocks they lack."""

    def served(self, delta: LoadedDelta) -> tuple[tuple[int, ...], frozenset[int]]:
        """Return the segments that give blocks which are lacking, and the frames they complete."""

    def reference(self, delta: LoadedDelta) -> Callable[[int], Sequence[Piece]]:
        """Return what gives the pieces of a segment's reference."""

    def names_of(self, delta: LoadedDelta, segment: int, plain: bytes, /) -> Hashes:
        """Return the names of the new blocks that came of a segment."""


@dataclass(frozen=True)
class Reuse:
    """What seeds give; all of it is verified when it is used."""

    frames: list[int]
    """Frames to rebuild, ascending."""
    missing: list[int]
    """Frames to fetch, ascending."""
    found: Found
    """Blocks of frames that were not found whole."""
    _whole: dict[int, Piece]
    """Where frames were found whole."""

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
        in_place: InPlace,
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
            in_place: looks for frames that are where they were.
        """
        whole = _whole_frames(toc, wanted, seeds)
        chosen = _worth_searching(seeds, whole)
        for number in {*chosen, *(piece.seed for piece in whole.values())}:
            seeds[number].settle()
        rest = [frame for frame in wanted if frame not in whole]
        if rest and searchable_bytes(seeds) > _LEAST_RETURN * toc.hint_bytes(rest):
            deltas.load(rest)
        found: Found | None = Mapped.find(toc, rest, deltas.loaded, seeds, chosen)
        if found is None:
            whole |= _unmoved_frames(rest, seeds, chosen, in_place)
            rest = [frame for frame in rest if frame not in whole]
            pays = bool(rest) and _may_pay(toc, rest, seeds, link)
            found = cls._by_hints(toc, rest if pays else [], blobs, seeds, chosen, progress, deltas)
        frames = [frame for frame in wanted if frame in whole or frame in found.complete]
        return cls(frames, sorted({*wanted}.difference(frames)), found, whole)

    @staticmethod
    def _by_hints(
        toc: Toc,
        frames: list[int],
        blobs: BlobReader,
        seeds: Sequence[Seed],
        chosen: Sequence[int],
        progress: Progress,
        deltas: DeltaChoice,
    ) -> Hinted:
        if not frames:
            return Hinted(toc, {}, (NOTHING,) * len(seeds))
        asked = Aside(lambda: deltas.load_hints(frames), "hints of deltas")
        search = Search(toc, seeds, chosen, progress)
        try:
            hints = read_hints(toc, frames, blobs, progress)
            asked.result()
            scans = search.finish(Wanted(deltas.reference_hints(), *hints.values()), deltas.sources())
        finally:
            search.abandon()
        return Hinted(toc, hints, scans)

    def pieces(self, frames: Sequence[int]) -> list[list[Piece]]:
        """Return the pieces of each of some of :attr:`frames`."""
        parted = [frame for frame in frames if frame not in self._whole]
        lengths, seeds, numbers = self.found.blocks(parted)
        joined = dict(zip(parted, join_groups(seeds, numbers, lengths), strict=True))
        return [joined[frame] if frame in joined else [self._whole[frame]] for frame in frames]

    def expected(self, covered: Collection[int]) -> list[int]:
        """Return the plain bytes each seed will give, if all goes well.

        Args:
            covered: frames that a delta completes.
        """
        used = self.found.shares([*self.found.complete, *covered])
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
    frames: list[int], seeds: Sequence[Seed], numbers: Sequence[int], in_place: InPlace
) -> dict[int, Piece]:
    """Find frames at their own place in a seed of unknown content, without their hints."""
    found: dict[int, Piece] = {}
    for number in numbers:
        if seeds[number].toc is None:
            found |= in_place.find(number, [frame for frame in frames if frame not in found])
    return found


def _worth_searching(seeds: Sequence[Seed], whole: dict[int, Piece]) -> list[int]:
    """Choose the seeds the user named, and a few others: what shares most with the disk, then what is not known."""
    given = [0] * len(seeds)
    for piece in whole.values():
        given[piece.seed] += piece.length
    others = [number for number, seed in enumerate(seeds) if not seed.named]
    others.sort(key=lambda number: -given[number])
    return sorted({*others[:_MOST_SCANNED], *(number for number, seed in enumerate(seeds) if seed.named)})


def _may_pay(toc: Toc, frames: list[int], seeds: Sequence[Seed], link: Link) -> bool:
    """Whether the seeds hold enough for their blocks to be worth the hints, and the hints are not too many."""
    hints = toc.hint_bytes(frames)
    # The one request that the hints take at least is worth a few small frames.
    if toc.blob_bytes(frames) <= link.cost(hints, 1, 1):
        return False
    return hints <= _MOST_HINTS and searchable_bytes(seeds) > _LEAST_RETURN * hints
