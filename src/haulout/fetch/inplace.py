"""Frames that a seed holds at their own place, as after an upgrade in place: no hints are needed to find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.disk import early_writeback
from haulout.fetch.finding import WholeFrames
from haulout.frames import Piece, Rebuilder, Rebuilding, frames_in_place
from haulout.local import processors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.fetch.seeds import Seed
    from haulout.fetch.target import Partial
    from haulout.frames import Toc
    from haulout.progress import Progress

_SAMPLE: Final = 32
_LEAST: Final = 16 << 20
"""Plain bytes whose hints (32 KiB) are worth comparing frames in place first."""


@dataclass(frozen=True, slots=True)
class InPlaceFinder:
    """Compares frames with what seeds of unknown content hold at the same place; a :class:`finding.Finder`.

    What is right goes into the partial file at once: nothing would be gained by hashing it now and once more when it is
    written.
    """

    toc: Toc
    """Of the disk that is pulled."""
    seeds: Sequence[Seed]
    numbers: Sequence[int]
    """Of the seeds that are compared."""
    partial: Partial | None
    """What becomes of the disk; None: nothing is written, as for a plan alone."""
    progress: Progress

    def find(self, frames: Sequence[int]) -> WholeFrames:
        """Return which of ``frames`` seeds hold at their own place; none of a seed where a few show that few are.

        In a disk that was built afresh, hardly any is where it was.

        Raises:
            StorageError: there is no room for them, or the file cannot be written.
        """
        whole: dict[int, Piece] = {}
        taken: set[int] = set()
        cloned = 0
        for number in self.numbers:
            if self.seeds[number].toc is not None:
                continue
            rest = [frame for frame in frames if frame not in whole]
            if self._is_worth_comparing(number, rest):
                if self.partial is None:
                    right = self._compare(number, rest)
                else:
                    right, shared = self._take(self.partial, number, rest)
                    taken.update(right)
                    cloned += shared
                whole |= {frame: self._piece(number, frame) for frame in right}
        return WholeFrames(whole, len(self.seeds), frozenset(taken), cloned)

    def _is_worth_comparing(self, number: int, frames: Sequence[int]) -> bool:
        sample = frames[:: max(len(frames) // _SAMPLE, 1)]
        if self.toc.plain_bytes(frames) < _LEAST:
            return False
        return 2 * len(frames_in_place(self.seeds[number].fd, self.toc, sample)) >= len(sample)

    def _piece(self, number: int, frame: int) -> Piece:
        return Piece(number, self.toc.disk_offsets[frame], self.toc.plain_size(frame))

    def _compare(self, number: int, frames: Sequence[int]) -> list[int]:
        seed = self.seeds[number]
        with self.progress.task(f"comparing {seed.path.name}", self.toc.plain_bytes(frames)) as task:
            return frames_in_place(seed.fd, self.toc, frames, task)

    def _take(self, partial: Partial, number: int, frames: Sequence[int]) -> tuple[list[int], int]:
        """Write frames to the partial file; return those that are right, and the bytes that were cloned."""
        seed, size = self.seeds[number], self.toc.plain_bytes(frames)
        if not seed.shared:
            partial.require_room(size)
        partial.resize(self.toc.disk.size)
        rebuilder = Rebuilder(self.toc, partial.fd)
        for each in self.seeds:
            rebuilder.add_seed(each.fd, shared=each.shared)
        with (
            early_writeback(partial.fd),
            self.progress.task(f"reusing {seed.path.name}", size) as task,
            Rebuilding(rebuilder, processors(), task) as rebuilding,
        ):
            rebuilding.add(frames, lambda group: [[self._piece(number, frame)] for frame in group])
            wrong = set(rebuilding.finish())
        return [frame for frame in frames if frame not in wrong], rebuilder.cloned
