"""Bringing a disk here by its table of contents: from what is in place, from seeds, and the rest from the registry."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from haulout.chunked.apply import apply
from haulout.chunked.framing import Kind
from haulout.chunked.plan import Slice, slices, wanted_frames
from haulout.chunked.rebuild import Rebuilder, rebuild_all
from haulout.chunked.survey import survey
from haulout.disk.sparse import punch_hole
from haulout.disk.writing import early_writeback
from haulout.transfer.crumbs import maybe_crumbs, take_crumbs
from haulout.transfer.results import Moved, SeedUse
from haulout.transfer.reuse import Reuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from haulout.chunked.blocks import Mask
    from haulout.chunked.toc import Toc
    from haulout.oci import SizedDigest
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk
    from haulout.transfer.link import MeasuringReader
    from haulout.transfer.seeds import Seed
    from haulout.transfer.target import Partial

_PROCESSORS: Final = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class FramePlan:
    """How a disk will come here."""

    right: Mask
    """Frames that are in place already, verified."""
    reuse: Reuse
    """Which frames are rebuilt from seeds, and from what; the others are fetched."""
    crumbs: SizedDigest | None
    """The crumbs, where they are fetched."""
    moved: Moved
    """What that comes to."""


class FramePull:
    """One disk with a table of contents on its way into a partial file.

    Args:
        toc: its table of contents.
        blobs: where its blobs are.
        found: the disk.
        partial: what an earlier pull left is kept where it is right.
        seeds: local files whose blocks may be reused; none: no hints are fetched.
        progress: told of the work.
        jobs: parallel connections.
    """

    def __init__(
        self,
        toc: Toc,
        blobs: MeasuringReader,
        found: ResolvedDisk,
        partial: Partial,
        seeds: Sequence[Seed],
        progress: Progress,
        jobs: int,
    ) -> None:
        self._toc = toc
        self._blobs = blobs
        self._found = found
        self._partial = partial
        self._seeds = tuple(seeds)
        self._progress = progress
        self._jobs = jobs

    def plan(self) -> FramePlan:
        """Find out what is here already and what has to be fetched. Of the registry, hints are read and no more.

        Raises:
            StorageError: the partial file cannot be prepared.
            UnreachableError: the registry failed for good.
        """
        toc = self._toc
        right = self._take_up()
        wanted = wanted_frames(toc, right)
        reuse = Reuse.find(toc, wanted, self._blobs, self._seeds, self._progress, lambda _: np.empty(0, np.uint64))
        crumbs, ranges = self._cheapest(reuse.missing, right)
        data = toc.kinds == Kind.DATA
        ahead = _length(ranges) + (crumbs.size if crumbs else 0)
        return FramePlan(
            right,
            reuse,
            crumbs,
            Moved(
                fetched=self._blobs.received + ahead,
                index=self._blobs.received,
                ranges=len(ranges),
                crumbs=crumbs.size if crumbs else 0,
                reused=int(toc.plain_sizes[data & right].sum(dtype=np.uint64)),
                seeds=self._uses(reuse.expected()),
                zero=toc.disk.size - toc.data_bytes,
            ),
        )

    def run(self, plan: FramePlan) -> Moved:
        """Do what the plan says; what a seed or the crumbs turn out not to hold is fetched instead.

        Raises:
            ContentError: a frame is not what the table of contents promises.
            StorageError: there is no room for the disk.
        """
        toc, fd, reuse = self._toc, self._partial.fd, plan.reuse
        planned = [*reuse.frames, *reuse.missing]
        self._partial.require_room(int(toc.plain_sizes[planned].sum(dtype=np.uint64)))
        rebuilder = Rebuilder(toc, fd, [seed.fd for seed in self._seeds])
        with early_writeback(fd):
            with self._rebuilding(reuse, rebuilder) as rebuilding:
                ranges = self._slices(self._after_crumbs(plan), plan.right)
                self._fetch(ranges)
            failed = rebuilding.result()
            again = self._slices(failed, plan.right)
            if again:
                self._progress.note(f"{len(failed)} frames changed in their seeds meanwhile: fetching them")
                self._fetch(again)
        return replace(
            plan.moved,
            fetched=self._blobs.received + _length(ranges) + _length(again),
            ranges=len(ranges) + len(again),
            seeds=self._uses(rebuilder.used),
            cloned=rebuilder.cloned,
        )

    def _cheapest(self, missing: list[int], right: Mask) -> tuple[SizedDigest | None, list[Slice]]:
        """Choose whether to fetch the crumbs, or the short frames by ranges: by bytes, and requests in bytes."""
        ranges = self._slices(missing, right)
        crumbs, short = self._found.crumbs, maybe_crumbs(self._toc, missing)
        if crumbs is None or not short:
            return None, ranges
        link = self._blobs.link()
        longer = self._slices([frame for frame in missing if frame not in short], right)
        with_crumbs = crumbs.size + link.cost(_length(longer), len(longer) + 1, self._jobs)
        if with_crumbs < link.cost(_length(ranges), len(ranges), self._jobs):
            return crumbs, longer
        return None, ranges

    def _after_crumbs(self, plan: FramePlan) -> list[int]:
        """Take what the crumbs hold, and return the frames that are missing yet."""
        missing = plan.reuse.missing
        if plan.crumbs is None:
            return missing
        short = maybe_crumbs(self._toc, missing)
        taken = take_crumbs(self._toc, plan.crumbs, short, self._blobs, self._partial.fd, self._progress)
        return [frame for frame in missing if frame not in taken]

    @contextmanager
    def _rebuilding(self, reuse: Reuse, rebuilder: Rebuilder) -> Iterator[Future[list[int]]]:
        """Rebuild while the block fetches: one waits for the processor, the other for the network."""
        stop = threading.Event()
        frames, toc = reuse.frames, self._toc
        total = int(toc.plain_sizes[frames].sum(dtype=np.uint64))

        def work() -> list[int]:
            if not frames:
                return []
            with self._progress.task("reusing local blocks", total) as task:
                return rebuild_all(rebuilder, frames, reuse.pieces, toc=toc, jobs=_PROCESSORS, stop=stop, task=task)

        with ThreadPoolExecutor(1, "reuse") as side:
            try:
                yield (rebuilding := side.submit(work))
                rebuilding.result()
            finally:
                stop.set()

    def _fetch(self, ranges: Sequence[Slice]) -> None:
        if ranges:
            fd, blob = self._partial.fd, self._found.layer
            with self._progress.task("pulling", _length(ranges)) as task:
                apply(self._toc, ranges, self._blobs.plain, blob, fd, jobs=self._jobs, task=task)

    def _slices(self, frames: list[int], right: Mask) -> list[Slice]:
        return slices(self._toc, frames, verified=right, gap=self._blobs.link().gap(self._jobs))

    def _uses(self, used: Sequence[int]) -> tuple[SeedUse, ...]:
        return tuple(SeedUse(seed.path, size) for seed, size in zip(self._seeds, used, strict=True) if size)

    def _take_up(self) -> Mask:
        """Survey what an earlier pull left, and bring the file to its size with nothing wrong where zeros belong."""
        toc, partial = self._toc, self._partial
        if os.fstat(partial.fd).st_size == 0:
            partial.resize(toc.disk.size)
            empty: Mask = toc.kinds == Kind.ZERO
            return empty
        partial.resize(toc.disk.size)
        with self._progress.task("checking what is here", toc.data_bytes) as task:
            right = survey(partial.fd, toc, self._jobs, task)
        for frame in np.flatnonzero((toc.kinds == Kind.ZERO) & ~right).tolist():
            punch_hole(partial.fd, int(toc.disk_offsets[frame]), toc.plain_size(frame))
        return right


def _length(ranges: Sequence[Slice]) -> int:
    return sum(piece.stop - piece.start for piece in ranges)
