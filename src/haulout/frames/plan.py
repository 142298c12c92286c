"""Planning a pull: which bytes of which blob to fetch, in which requests. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from operator import sub
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.frames.toc import FrameFlags, Toc

SLICE: Final = 8 * 1024 * 1024
"""Blob bytes of one request, about: long enough to hide a round trip, short enough to spread over connections."""

MOST_GAPS: Final = 240
"""Requests that gaps may add: the narrowest gaps are read over until there are no more."""

_MOST_GAP: Final = 64 * 1024
_MOST_WASTE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Slice:
    """One request: blob bytes ``[start, stop)``, and the frames wanted from it, in order."""

    start: int
    stop: int
    frames: tuple[int, ...]


def wanted_frames(toc: Toc, right: FrameFlags) -> list[int]:
    """Return the data frames that are not right yet: zero frames never need the network."""
    return [frame for frame in toc.data_frames if not right[frame]]


def slices(
    toc: Toc,
    frames: list[int],
    *,
    verified: FrameFlags | None = None,
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
    starts = [toc.blob_offsets[frame] for frame in frames]
    ends = [toc.blob_offsets[frame + 1] for frame in frames]
    kept = bytes(map(min, verified, toc.is_data)) if verified is not None else b""
    barriers = [kept.find(1, one, other) >= 0 for one, other in pairwise(frames)]
    out: list[Slice] = []
    for first, last in _splits(starts, ends, barriers, gap, most_gaps):
        begin = first
        for frame in range(first, last):
            if frame + 1 == last or ends[frame + 1] - starts[begin] > slice_bytes:
                out.append(Slice(starts[begin], ends[frame], tuple(frames[begin : frame + 1])))
                begin = frame + 1
    return out


def hint_ranges(toc: Toc, frames: list[int], *, most: int = 4) -> list[tuple[int, int]]:
    """Return which frames' hints to read together: ``[first, stop)`` positions in ``frames``, at most ``most``."""
    starts = [toc.hint_offsets[frame] for frame in frames]
    ends = [toc.hint_offsets[frame + 1] for frame in frames]
    return _splits(starts, ends, [False] * (len(frames) - 1), _MOST_GAP, most - 1)


def _splits(
    starts: Sequence[int], ends: Sequence[int], barriers: Sequence[bool], gap: int, most: int
) -> list[tuple[int, int]]:
    """Cut a row of items at its widest gaps, and return the runs between as ``[first, stop)``.

    Gaps of at most ``gap`` bytes are read over, the narrowest first, until they make a quarter of the items; then, of
    those left, the widest ``most`` are kept. ``barriers`` are cut in any case.
    """
    if not starts:
        return []
    gaps = list(map(sub, starts[1:], ends))
    order = sorted((at for at, is_barrier in enumerate(barriers) if not is_barrier), key=gaps.__getitem__)
    waste = (sum(ends) - sum(starts)) * _MOST_WASTE
    narrow = total = 0
    for at in order:
        total += gaps[at]
        if gaps[at] and (gaps[at] > gap or total > waste):
            break
        narrow += 1
    cuts = order[max(narrow, len(order) - most) :] + [at for at, is_barrier in enumerate(barriers) if is_barrier]
    return list(pairwise([0, *(at + 1 for at in sorted(cuts)), len(starts)]))
