"""The ways of fetching what is missing, and the cheapest of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.frames import MAX_SMALL_FRAME, slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from haulout.fetch.choice import DeltaPlan
    from haulout.frames import FrameFlags, Link, Slice, Toc
    from haulout.oci import SizedDigest


@dataclass(frozen=True, slots=True)
class Way:
    """One way of fetching: a delta or none, the crumbs or not, and ranges of the disk's blob for the rest."""

    ranges: tuple[Slice, ...]
    crumbs: SizedDigest | None = None
    delta: DeltaPlan | None = None

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        size = length(self.ranges)
        size += self.crumbs.size if self.crumbs is not None else 0
        return size + (self.delta.size if self.delta is not None else 0)

    @property
    def requests(self) -> int:
        """Requests it takes."""
        requests = len(self.ranges) + (self.crumbs is not None)
        return requests + (self.delta.requests if self.delta is not None else 0)


@dataclass(frozen=True, slots=True)
class Ways:
    """What there is to choose from.

    Args:
        toc: of the disk.
        right: frames that are in place, which are never fetched again.
        link: the way to the registry, as measured.
        connections: requests at a time.
    """

    toc: Toc
    right: FrameFlags
    link: Link
    connections: int

    def by_ranges(self, missing: list[int]) -> tuple[Slice, ...]:
        """Return the ranges that fetch the frames ``missing``, ascending."""
        gap = self.link.gap(self.connections)
        return tuple(slices(self.toc, missing, verified=self.right, gap=gap))

    def cheapest(self, missing: list[int], crumbs: SizedDigest | None, deltas: Sequence[DeltaPlan]) -> Way:
        """Return the cheapest way to fetch ``missing``, by bytes and by what requests cost in bytes.

        Args:
            missing: frames, ascending.
            crumbs: of the disk.
            deltas: what each would do.
        """
        ways = [Way(self.by_ranges(missing))]
        short = short_frames(self.toc, missing)
        if crumbs is not None and short:
            ways.append(Way(self.by_ranges([frame for frame in missing if frame not in short]), crumbs))
        for delta in deltas:
            rest = [frame for frame in missing if frame not in delta.covered]
            ways.append(Way(self.by_ranges(rest), delta=delta))
        return min(ways, key=lambda way: self.link.cost(way.size, way.requests, self.connections))


def short_frames(toc: Toc, frames: Iterable[int]) -> set[int]:
    """Return which of ``frames`` are short enough for the small-frame bundle."""
    return {frame for frame in frames if toc.blocks[frame] <= MAX_SMALL_FRAME}


def length(ranges: Iterable[Slice]) -> int:
    """Return the bytes of ``ranges``."""
    return sum(piece.stop - piece.start for piece in ranges)
