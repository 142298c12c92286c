"""Guided framing: where a disk is cut when an earlier one, the base, is known. Pure: content and base decide alone.

* A frame of the base whose blocks all lie here, in order, is cut out as it is: it can be reused compressed.
* Elsewhere a frame holds either blocks that the base has or blocks that it lacks, so that an update from the base
  fetches little else than what is new. Short stretches of known blocks within new ones are not worth two more cuts.
* Zero runs are as without a base.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

from haulout.extras import np
from haulout.frames.framing import Cutter, Framer, Framing, Kind, Span, runs
from haulout.frames.small_frames import MAX_SMALL_FRAME

if TYPE_CHECKING:
    from array import array

    from haulout.frames.arrays import Hashes
    from haulout.frames.base import Base

FINE: Final = Framing(least=64, average=64, most=256)
"""How new blocks are cut at every level: an update that needs some of them fetches whole frames."""

MAX_GAP: Final = 4
"""Longest stretch of known blocks kept in a frame of new ones (16 KiB)."""


class GuidedFramer(Framer):
    """A framer that knows a base. Holds back at most twice the longest frame of the base, and a window."""

    def __init__(self, framing: Framing, base: Base) -> None:
        super().__init__(framing)
        self._base = base
        self._loose = _Loose(framing, base)
        self._waiting: list[Hashes] = []
        """Blocks of data behind everything that has been decided."""
        self._held = 0
        self._next = 0
        """The data frame of the base behind the one found last."""
        self._follows = True
        """Whether the first waiting block comes straight behind that one, or at the start of a stretch of data."""

    def _data(self, hints: array[int]) -> list[Span]:
        self._waiting.append(np.asarray(hints))
        self._held += len(hints)
        # A place is decided once the longest frame of the base would have been seen whole.
        return self._decide(self._held - self._base.longest) if self._held > 2 * self._base.longest else []

    def _end_data(self) -> list[Span]:
        spans = self._decide(self._held) if self._held else []
        self._follows = True
        return [*spans, *self._loose.end()]

    def _decide(self, limit: int) -> list[Span]:
        hashes = np.concatenate(self._waiting)
        places = self._base.beginnings(hashes[:limit])
        spans: list[Span] = []
        position = decided = 0
        while position < limit:
            frame = self._frame_at(hashes, position, places)
            if frame is None:
                self._follows = False
                following = bisect_right(places, position)
                position = places[following] if following < len(places) else limit
                continue
            spans += self._loose.take(hashes[decided:position])
            spans += self._loose.end()
            spans.append(Span(Kind.DATA, self._base.length(frame), frame, self._base.is_small(frame)))
            self._next, self._follows = frame + 1, True
            position = decided = position + self._base.length(frame)
        spans += self._loose.take(hashes[decided:position])
        self._waiting = [hashes[position:]]
        self._held = len(hashes) - position
        return spans

    def _frame_at(self, hashes: Hashes, position: int, places: list[int]) -> int | None:
        # Frames keep their order more often than not: the next one is recognised however short it is.
        if self._follows and self._base.lies_at(self._next, hashes, position):
            return self._next
        nearest = bisect_left(places, position)
        if nearest == len(places) or places[nearest] != position:
            return None
        return self._base.frame_at(hashes, position)


class _Loose:
    """Cuts what lies between whole frames of the base, by what the base knows."""

    def __init__(self, framing: Framing, base: Base) -> None:
        self._base = base
        self._known = Cutter(framing)
        self._new = Cutter(FINE)
        self._in_new = False
        self._gap: list[list[int]] = []
        """Known blocks behind new ones, as long as there are at most ``MAX_GAP`` of them."""

    def take(self, hashes: Hashes) -> list[Span]:
        """Take more blocks; returns the spans completed."""
        spans: list[Span] = []
        hints = hashes.tolist()
        for start, stop, is_known in runs(self._base.knows(hashes).tobytes()):
            spans += (self._take_known if is_known else self._take_new)(hints[start:stop])
        return spans

    def end(self) -> list[Span]:
        """Complete what is open."""
        spans = self._end_new() if self._in_new else []
        return [*spans, *_known(self._known.end())]

    def _take_new(self, hints: list[int]) -> list[Span]:
        spans = [] if self._in_new else _known(self._known.end())
        self._in_new = True
        for absorbed in self._gap:
            spans += _fresh(self._new.cut(absorbed))
        self._gap = []
        return [*spans, *_fresh(self._new.cut(hints))]

    def _take_known(self, hints: list[int]) -> list[Span]:
        if not self._in_new:
            return _known(self._known.cut(hints))
        self._gap.append(hints)
        return self._end_new() if sum(map(len, self._gap)) > MAX_GAP else []

    def _end_new(self) -> list[Span]:
        spans = _fresh(self._new.end())
        for behind in self._gap:
            spans += _known(self._known.cut(behind))
        self._gap, self._in_new = [], False
        return spans


def _known(lengths: list[int]) -> list[Span]:
    return [Span(Kind.DATA, length) for length in lengths]


def _fresh(lengths: list[int]) -> list[Span]:
    return [Span(Kind.DATA, length, is_small=length <= MAX_SMALL_FRAME) for length in lengths]
