"""Planning a pull: which bytes of the blob to fetch, in which requests. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from haulout.chunked.framing import Kind

if TYPE_CHECKING:
    from haulout.chunked.blocks import Mask
    from haulout.chunked.toc import Toc

SLICE: Final = 8 * 1024 * 1024
"""Blob bytes of one request, about: long enough to hide a round trip, short enough to spread over connections."""

GAP: Final = 64 * 1024
"""Bytes of zero frames worth reading over rather than asking again."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One request: blob bytes ``[start, stop)``, and the frames wanted from it, in order."""

    start: int
    stop: int
    frames: tuple[int, ...]


def wanted_frames(toc: Toc, right: Mask) -> list[int]:
    """Return the data frames that are not right yet: zero frames never need the network."""
    return np.flatnonzero((toc.kinds == Kind.DATA) & ~right).tolist()


def slices(toc: Toc, frames: list[int], *, slice_bytes: int = SLICE, gap: int = GAP) -> list[Slice]:
    """Group wanted ``frames`` (ascending) into requests of single ranges.

    Zero frames between two are read over, data frames never: one that is not wanted is here, verified.
    """
    out: list[Slice] = []
    group: list[int] = []
    start = stop = 0
    offsets = toc.blob_offsets
    for frame in frames:
        begin, end = int(offsets[frame]), int(offsets[frame + 1])
        if group and (begin - stop > gap or end - start > slice_bytes or _hold_data(toc, group[-1] + 1, frame)):
            out.append(Slice(start, stop, tuple(group)))
            group = []
        if not group:
            start = begin
        group.append(frame)
        stop = end
    if group:
        out.append(Slice(start, stop, tuple(group)))
    return out


def _hold_data(toc: Toc, first: int, stop: int) -> bool:
    return first < stop and bool((toc.kinds[first:stop] == Kind.DATA).any())
