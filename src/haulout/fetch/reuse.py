"""Which frames of a disk can be rebuilt from local files: the finders, in order of what they cost.

By the digests of earlier pulls first; then by the map of a published delta, where a file holds the old disk as it was
published; then by comparing in place; last by hints, which are fetched for it. Needs numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.fetch.deltas import load_promising
from haulout.fetch.finding import WholeFrames
from haulout.fetch.hinted import HintFinder, may_hold
from haulout.fetch.inplace import InPlaceFinder
from haulout.fetch.mapped import MapFinder
from haulout.frames import MISSING, Piece, same_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from haulout.fetch.bandwidth import MeasuringReader
    from haulout.fetch.finding import Finder, Finding, LoadedDelta
    from haulout.fetch.seeds import Seed
    from haulout.fetch.target import Partial
    from haulout.frames import Toc
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk

_MOST_SEARCHED: Final = 3
"""Seeds the user did not name whose blocks are hashed; digests alone are compared with those of all."""


@dataclass(frozen=True, slots=True)
class SameFrames:
    """Looks for frames by the digests that earlier pulls noted; a :class:`finding.Finder`. Nothing is read."""

    toc: Toc
    seeds: Sequence[Seed]

    def find(self, frames: Sequence[int]) -> WholeFrames:
        """Return where the seeds held ``frames`` when they were pulled."""
        whole: dict[int, Piece] = {}
        for number, seed in enumerate(self.seeds):
            if seed.toc is None:
                continue
            rest = [frame for frame in frames if frame not in whole]
            for frame, place in zip(rest, same_frames(self.toc, rest, seed.toc).tolist(), strict=True):
                if place != MISSING:
                    whole[frame] = Piece(number, place, self.toc.plain_size(frame))
        return WholeFrames(whole, len(self.seeds))


def find_reusable(
    toc: Toc,
    wanted: Sequence[int],
    blobs: MeasuringReader,
    found: ResolvedDisk,
    seeds: Sequence[Seed],
    progress: Progress,
    *,
    partial: Partial | None,
    use_deltas: bool,
) -> tuple[tuple[Finding, ...], tuple[LoadedDelta, ...]]:
    """Look for the frames ``wanted`` in ``seeds``, and for deltas that may give what they lack.

    Args:
        toc: of the disk that is pulled.
        wanted: data frames, ascending.
        blobs: where hints and deltas are.
        found: the disk.
        seeds: in the order of their numbers; those that give something become snapshots where they can.
        progress: receives tasks and notes.
        partial: gets at once what is found at its own place; None: nothing is written.
        use_deltas: whether deltas may be used.

    Raises:
        StorageError: there is no room for what is taken over.
        UnreachableError: the registry failed for good.
    """
    same = SameFrames(toc, seeds).find(wanted)
    chosen = _worth_searching(seeds, same)
    for number in {*chosen, *(piece.seed for piece in same.whole.values())}:
        seeds[number].settle()
    rest = [frame for frame in wanted if frame not in same.whole]
    deltas: tuple[LoadedDelta, ...] = ()
    if use_deltas and rest and may_hold(seeds, toc.hint_bytes(rest)):
        known = {seed.toc.disk for seed in seeds if seed.toc is not None}
        deltas = load_promising(blobs, found, toc, toc.blob_bytes(rest), known, progress)
    finders: tuple[Finder, ...] = (
        MapFinder(toc, deltas, seeds, chosen),
        InPlaceFinder(toc, seeds, chosen, partial, progress),
        HintFinder(toc, deltas, seeds, chosen, blobs, progress),
    )
    return (same, *ask(finders, rest)), deltas


def ask(finders: Iterable[Finder], frames: Sequence[int]) -> Iterator[Finding]:
    """Yield what each finder knows of the frames that those before it know nothing of, while there are any."""
    for finder in finders:
        if frames:
            finding = finder.find(frames)
            frames = [frame for frame in frames if frame not in finding.complete and frame not in finding.lacking]
            yield finding


def _worth_searching(seeds: Sequence[Seed], same: WholeFrames) -> list[int]:
    """Choose the seeds the user named, and a few others: what shares most with the disk, then what is not known."""
    given = same.shares(same.whole)
    others = [number for number, seed in enumerate(seeds) if not seed.named]
    others.sort(key=lambda number: -given[number])
    return sorted({*others[:_MOST_SEARCHED], *(number for number, seed in enumerate(seeds) if seed.named)})
