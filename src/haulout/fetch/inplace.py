"""Frames that a seed holds at their own place, as after an upgrade in place: no hints are needed to find them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.disk import early_writeback
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


class InPlace:
    """Compares frames with what seeds hold at the same place; what is right goes into the partial file at once.

    Nothing would be gained by hashing it now and once more when it is written.

    Args:
        toc: of the disk that is pulled.
        seeds: local files.
        partial: what becomes of the disk; None: nothing is written, as for a plan alone.
        progress: told of it.
    """

    def __init__(self, toc: Toc, seeds: Sequence[Seed], partial: Partial | None, progress: Progress) -> None:
        self._toc = toc
        self._seeds = seeds
        self._partial = partial
        self._progress = progress
        self.taken: set[int] = set()
        """Frames that are in the partial file now."""
        self.used = [0] * len(seeds)
        """Of these, plain bytes from each seed."""
        self.cloned = 0
        """Of these, bytes that share their storage with the seed."""

    def find(self, number: int, frames: Sequence[int]) -> dict[int, Piece]:
        """Return which of ``frames`` seed ``number`` holds at their own place; none where a few show that few are.

        In a disk that was built afresh, hardly any is where it was.

        Raises:
            StorageError: there is no room for them, or the file cannot be written.
        """
        toc, seed = self._toc, self._seeds[number]
        size = toc.plain_bytes(frames)
        sample = frames[:: max(len(frames) // _SAMPLE, 1)]
        if size < _LEAST or 2 * len(frames_in_place(seed.fd, toc, sample)) < len(sample):
            return {}
        pieces = {frame: Piece(number, toc.disk_offsets[frame], toc.plain_size(frame)) for frame in frames}
        if self._partial is None:
            with self._progress.task(f"comparing {seed.path.name}", size) as task:
                return {frame: pieces[frame] for frame in frames_in_place(seed.fd, toc, frames, task)}
        wrong = self._take(self._partial, number, pieces, size)
        return {frame: piece for frame, piece in pieces.items() if frame not in wrong}

    def _take(self, partial: Partial, number: int, pieces: dict[int, Piece], size: int) -> set[int]:
        """Write frames to the partial file; return those that are not what they should be."""
        seed = self._seeds[number]
        if not seed.shared:
            partial.require_room(size)
        partial.resize(self._toc.disk.size)
        rebuilder = Rebuilder(self._toc, partial.fd)
        for each in self._seeds:
            rebuilder.add_seed(each.fd, shared=each.shared)
        with (
            early_writeback(partial.fd),
            self._progress.task(f"reusing {seed.path.name}", size) as task,
            Rebuilding(rebuilder, processors(), task) as rebuilding,
        ):
            rebuilding.add(list(pieces), lambda group: [[pieces[frame]] for frame in group])
            wrong = set(rebuilding.finish())
        self.taken.update(pieces.keys() - wrong)
        self.used = [before + more for before, more in zip(self.used, rebuilder.used, strict=True)]
        self.cloned += rebuilder.cloned
        return wrong
