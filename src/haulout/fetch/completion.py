"""Which frames a delta completes, as its segments come: each can be rebuilt at once, before the rest is here."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from haulout.extras import np
from haulout.frames import MISSING, join_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.fetch.finding import BlockFinding
    from haulout.frames import Hashes, Numbers, Piece


class FrameCompletion:
    """The frames that lack blocks, and how many each lacks still. Safe to use from several threads.

    Blocks have names: numbers that say which of the lacking blocks one is (:class:`finding.BlockFinding`).

    Args:
        found: what the other seeds give.
        seed: the number of the file that the delta's blocks are written to.
    """

    def __init__(self, found: BlockFinding, seed: int) -> None:
        self._found = found
        self._seed = seed
        self._lock = threading.Lock()
        self._frames = list(found.lacking)
        self._names, which = np.unique(found.names(self._frames), return_inverse=True)
        rows = np.repeat(np.arange(len(self._frames)), [len(found.lacking[frame]) for frame in self._frames])
        # Each frame waits once for each block, however often it has it.
        pairs = np.unique(np.stack([which, rows], axis=1).reshape(-1, 2), axis=0)
        self._waited_for, self._waiting = pairs[:, 0], pairs[:, 1]
        self._left = np.bincount(self._waiting, minlength=len(self._frames))
        self._places: Numbers = np.full(len(self._names), MISSING, dtype=np.int64)
        self.complete: set[int] = set()
        """Frames whose blocks are all here."""

    def add(self, first: int, names: Hashes) -> list[int]:
        """Take note of blocks that were written, and return the frames that are complete now.

        Args:
            first: the number of the first of them in the file.
            names: of the blocks, as they came out.
        """
        if not len(self._names):
            return []
        at = np.minimum(np.searchsorted(self._names, names), len(self._names) - 1)
        hits = np.flatnonzero(self._names[at] == names)
        with self._lock:
            hits = hits[self._places[at[hits]] == MISSING]
            fresh = np.zeros(len(self._names), dtype=np.bool_)
            fresh[at[hits]] = True
            self._places[at[hits]] = first + hits
            served = np.bincount(self._waiting[fresh[self._waited_for]], minlength=len(self._frames))
            self._left -= served
            ready = [self._frames[row] for row in np.flatnonzero((served > 0) & (self._left == 0)).tolist()]
            self.complete.update(ready)
        return ready

    def pieces(self, frames: Sequence[int]) -> list[list[Piece]]:
        """Return the pieces of each of some frames that are complete."""
        lengths, seeds, numbers = self._found.blocks(frames)
        firsts = np.cumsum([0, *lengths[:-1]])
        lacking = [first + self._found.lacking[frame] for first, frame in zip(firsts, frames, strict=True)]
        at = np.searchsorted(self._names, self._found.names(frames))
        every = np.concatenate(lacking)
        seeds[every], numbers[every] = self._seed, self._places[at]
        return join_groups(seeds, numbers, lengths)
