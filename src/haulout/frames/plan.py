"""Planning a pull: which bytes of which blob to fetch, in which requests. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from haulout.frames.framing import Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    from haulout.frames.blocks import Mask
    from haulout.frames.toc import Toc

SLICE: Final = 8 * 1024 * 1024
"""Blob bytes of one request, about: long enough to hide a round trip, short enough to spread over connections."""

MOST_GAPS: Final = 240
"""Requests that gaps may add: the narrowest gaps are read over until there are no more."""

_LEAST_GAP: Final = 4 * 1024
_MOST_GAP: Final = 64 * 1024
_MOST_WASTE: Final = 0.25

HINT_BYTES: Final = 8
"""Bytes of one block's hint in the hints blob."""


@dataclass(frozen=True, slots=True)
class Link:
    """The way to a registry, as measured."""

    round_trip: float = 0.02
    """Seconds from a request to its answer."""
    bytes_per_second: float = 12.5e6
    """Of one connection."""

    def gap(self, connections: int) -> int:
        """Return the unneeded bytes that are read in the time another request would cost."""
        cost = self.round_trip * self.bytes_per_second / max(connections, 1)
        return int(min(max(cost, _LEAST_GAP), _MOST_GAP))

    def cost(self, size: int, requests: int, connections: int) -> int:
        """Weigh a way of fetching: its bytes, and the bytes that its requests could have moved instead."""
        return size + requests * self.gap(connections)


@dataclass(frozen=True, slots=True)
class Slice:
    """One request: blob bytes ``[start, stop)``, and the frames wanted from it, in order."""

    start: int
    stop: int
    frames: tuple[int, ...]


def wanted_frames(toc: Toc, right: Mask) -> list[int]:
    """Return the data frames that are not right yet: zero frames never need the network."""
    return np.flatnonzero((toc.kinds == Kind.DATA) & ~right).tolist()


def slices(
    toc: Toc,
    frames: list[int],
    *,
    verified: Mask | None = None,
    slice_bytes: int = SLICE,
    gap: int = _MOST_GAP,
    most_gaps: int = MOST_GAPS,
) -> list[Slice]:
    """Group wanted ``frames`` (ascending) into requests of single ranges.

    Args:
        toc: where they are in the blob.
        frames: the numbers of the frames.
        verified: frames that were fetched before; they are never read over.
        slice_bytes: bytes after which a request ends.
        gap: unneeded bytes worth reading over rather than asking again, while they are not too many in all.
        most_gaps: gaps left at most; to get there, wider ones are read over as well.
    """
    if not frames:
        return []
    wanted = np.array(frames, dtype=np.int64)
    starts = toc.blob_offsets[wanted].astype(np.int64)
    ends = toc.blob_offsets[wanted + 1].astype(np.int64)
    kept = np.zeros(len(toc), dtype=np.bool_) if verified is None else verified & (toc.kinds == Kind.DATA)
    before = np.concatenate([[0], np.cumsum(kept)])
    barriers: Mask = before[wanted[1:]] > before[wanted[:-1]]
    splits = _splits(starts[1:] - ends[:-1], barriers, int((ends - starts).sum()), gap, most_gaps)
    out: list[Slice] = []
    for first, last in splits:
        begin = first
        for frame in range(first, last):
            if frame + 1 == last or ends[frame + 1] - starts[begin] > slice_bytes:
                out.append(Slice(int(starts[begin]), int(ends[frame]), tuple(frames[begin : frame + 1])))
                begin = frame + 1
    return out


def hint_ranges(toc: Toc, frames: list[int], *, most: int = 4) -> list[tuple[int, int]]:
    """Return which frames' hints to read together: ``[first, stop)`` positions in ``frames``, at most ``most``."""
    if not frames:
        return []
    wanted = np.array(frames, dtype=np.int64)
    starts, ends = toc.hint_offsets[wanted].astype(np.int64), toc.hint_offsets[wanted + 1].astype(np.int64)
    gaps = starts[1:] - ends[:-1]
    return _splits(gaps, np.zeros(len(gaps), dtype=np.bool_), int((ends - starts).sum()), _MOST_GAP, most - 1)


def _splits(gaps: npt.NDArray[np.int64], barriers: Mask, wanted: int, gap: int, most: int) -> list[tuple[int, int]]:
    """Cut a row of items at its widest gaps, and return the runs between as ``[first, stop)``.

    Gaps of at most ``gap`` bytes are read over, the narrowest first, until they make a quarter of ``wanted``; then, of
    those left, the widest ``most`` are kept. ``barriers`` are cut in any case.
    """
    order = np.argsort(gaps, kind="stable")
    order = order[~barriers[order]]
    ascending = gaps[order]
    read_over = (ascending <= gap) & (np.cumsum(ascending) <= wanted * _MOST_WASTE)
    read_over |= ascending == 0
    cuts = order[~read_over]
    cuts = np.concatenate([cuts[max(len(cuts) - most, 0) :], np.flatnonzero(barriers)])
    edges = [0, *np.sort(cuts + 1).tolist(), len(gaps) + 1]
    return list(pairwise(edges))
