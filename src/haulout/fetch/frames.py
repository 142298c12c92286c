"""Bringing a disk here by its table of contents: from what is in place, from seeds, and the rest from the registry."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from haulout.disk import early_writeback, punch_hole
from haulout.errors import HauloutError, StorageError
from haulout.fetch.choice import DeltaChoice
from haulout.fetch.completion import Growth
from haulout.fetch.fetch_plan import Way, Ways, length, short_frames
from haulout.fetch.inplace import InPlace
from haulout.fetch.results import Moved, SeedUse
from haulout.fetch.reuse import Reuse
from haulout.fetch.small_frames import take_crumbs
from haulout.fetch.target import storage_errors
from haulout.frames import BLOCK, Rebuilder, Rebuilding, apply, expand, survey, wanted_frames
from haulout.local import processors
from haulout.oci import SizedDigest
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from haulout.fetch.bandwidth import MeasuringReader
    from haulout.fetch.choice import DeltaPlan
    from haulout.fetch.seeds import Seed
    from haulout.fetch.target import Partial
    from haulout.frames import FrameFlags, Slice, Toc
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk


@dataclass(frozen=True, slots=True)
class FramePlan:
    """How a disk will come here."""

    reuse: Reuse
    """Which frames are rebuilt from seeds, and from what; the others are fetched."""
    way: Way
    """How they are fetched."""
    ways: Ways
    moved: Moved
    """What that comes to."""
    in_place: InPlace
    """What of it has been done already."""


class FramePull:
    """One disk with a table of contents on its way into a partial file.

    Args:
        toc: its table of contents.
        blobs: reads from where it is.
        found: the disk.
        partial: what an earlier pull left is kept where it is right.
        seeds: local files whose blocks may be reused; none: no hints are fetched.
        progress: told of the work.
        jobs: parallel connections.
        use_deltas: whether published deltas may be used.
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
        *,
        use_deltas: bool = True,
    ) -> None:
        self._toc = toc
        self._blobs = blobs
        self._found = found
        self._partial = partial
        self._seeds = tuple(seeds)
        self._progress = progress
        self._jobs = jobs
        self._use_deltas = use_deltas
        self._ranges: list[Slice] = []
        """Asked for so far."""
        self._delta: SizedDigest | None = None
        """Used so far, with its bytes that came."""

    def plan(self, *, dry: bool = False) -> FramePlan:
        """Find out what is here already and what has to be fetched. Of the registry, only indexes are read.

        Args:
            dry: whether nothing is written: the partial file may be open for reading only. Else, what seeds hold at its
                own place is taken over while it is looked for.

        Raises:
            StorageError: there is no room for what is taken over.
            UnreachableError: the registry failed for good.
        """
        toc = self._toc
        right = self._right()
        wanted = wanted_frames(toc, right)
        deltas = DeltaChoice(self._blobs, self._found, toc, self._seeds, self._progress, enabled=self._use_deltas)
        in_place = InPlace(toc, self._seeds, None if dry else self._partial, self._progress)
        reuse = Reuse.find(
            toc,
            wanted,
            self._blobs,
            self._seeds,
            self._progress,
            deltas,
            self._blobs.link(),
            in_place=in_place,
        )
        ways = Ways(toc, right, self._blobs.link(), self._jobs)
        way = ways.cheapest(reuse.missing, self._found.crumbs, deltas.plan(reuse))
        moved = Moved(
            fetched=self._blobs.received + way.size,
            index=self._blobs.received,
            ranges=len(way.ranges),
            crumbs=way.crumbs.size if way.crumbs else 0,
            delta=SizedDigest(way.delta.offer.manifest, way.delta.size) if way.delta else None,
            reused=toc.plain_bytes(frame for frame in toc.data_frames if right[frame]),
            seeds=self._uses(reuse.expected(way.delta.covered if way.delta is not None else ())),
            zero=toc.disk.size - toc.data_bytes,
        )
        return FramePlan(reuse, way, ways, moved, in_place)

    def run(self, plan: FramePlan, *, further: int = 0) -> Moved:
        """Do what the plan says; what a seed, the delta or the crumbs turn out not to hold is fetched instead.

        Args:
            plan: what to do.
            further: bytes for which there has to be room as well.

        Raises:
            ContentError: a frame is not what the table of contents promises.
            StorageError: there is no room for the disk.
        """
        toc, reuse, delta = self._toc, plan.reuse, plan.way.delta
        rebuilder = Rebuilder(toc, self._partial.fd)
        for seed in self._seeds:
            rebuilder.add_seed(seed.fd, shared=seed.shared)
        waiting = [frame for frame in reuse.frames if frame not in plan.in_place.taken]
        self._require_room(plan, waiting, rebuilder, further)
        self._prepare(plan.ways.right)
        rebuilt = [*waiting, *(delta.covered if delta is not None else ())]
        with early_writeback(self._partial.fd), ExitStack() as stack:
            # One waits for the processor, the other for the network.
            with self._rebuilding(rebuilder, rebuilt) as rebuilding:
                rebuilding.add(waiting, reuse.pieces)
                if delta is None:
                    self._fetch_missing(plan, reuse.missing, plan.way.crumbs)
                else:
                    self._fetch_missing(plan, self._expand(delta, reuse, rebuilder, rebuilding, stack), None)
                failed = rebuilding.finish()
            if failed:
                self._progress.note(f"frames that are not in their seeds any more: {len(failed)}; fetching them")
                self._fetch(plan.ways.by_ranges(failed))
        return replace(
            plan.moved,
            fetched=self._blobs.received + length(self._ranges),
            ranges=len(self._ranges),
            delta=self._delta,
            seeds=self._uses([now + before for now, before in zip(rebuilder.used, plan.in_place.used, strict=False)]),
            cloned=rebuilder.cloned + plan.in_place.cloned,
        )

    def _require_room(self, plan: FramePlan, frames: list[int], rebuilder: Rebuilder, further: int) -> None:
        """Check that what will be written fits: the disk and the delta's blocks, but not what will be cloned.

        Of what is rebuilt, only ``frames`` are not in place yet.
        """
        toc, reuse, partial = self._toc, plan.reuse, self._partial
        needed = further + toc.plain_bytes([*frames, *reuse.missing])
        needed += plan.way.delta.plain_size if plan.way.delta is not None else 0
        if needed > partial.free:
            pieces = zip(frames, reuse.pieces(frames), strict=True)
            needed -= toc.plain_bytes(frame for frame, own in pieces if rebuilder.would_clone(own))
        partial.require_room(needed)

    def _expand(
        self, delta: DeltaPlan, reuse: Reuse, rebuilder: Rebuilder, rebuilding: Rebuilding, stack: ExitStack
    ) -> list[int]:
        """Make a seed of the delta, and rebuild what it completes while it comes; return the frames missing still.

        The seed is a file without a name, so that nothing is left of it whatever happens.
        """
        with storage_errors(self._partial.target):
            file = tempfile.TemporaryFile(dir=self._partial.target.parent)  # noqa: SIM115 - closed by the stack
            spare = stack.enter_context(file).fileno()
        # Cloning what was just written would wait for it to reach the storage.
        rebuilder.add_seed(spare)
        growth = Growth(reuse.found, len(self._seeds))

        def made(segment: int, offset: int, plain: bytes) -> None:
            names = reuse.found.names_of(delta.delta, segment, plain)
            # Before what lies here anyway: whoever is interrupted has nothing of it to fetch again.
            rebuilding.add(growth.add(offset // BLOCK, names), growth.pieces, first=True)

        name, before, told = delta.offer.manifest, self._blobs.received, False
        try:
            with self._progress.task("pulling a delta", delta.size) as task:
                what = (delta.index, delta.segments, self._blobs, delta.offer.data, reuse.found.reference(delta.delta))
                expand(*what, [seed.fd for seed in self._seeds], spare, task, jobs=processors(), made=made)
        except StorageError:
            raise
        except HauloutError as error:
            told = True
            self._progress.note(f"the delta {name.short} is of no use: {error}")
        if received := self._blobs.received - before:
            self._delta = SizedDigest(name, received)
        absent = len(delta.covered - growth.complete)
        if absent and not told:
            self._progress.note(
                f"the delta {name.short} gives {absent} of {len(delta.covered)} frames less than planned: fetching them"
            )
        return [frame for frame in reuse.missing if frame not in growth.complete]

    def _fetch_missing(self, plan: FramePlan, missing: list[int], crumbs: SizedDigest | None) -> None:
        if crumbs is not None:
            short = short_frames(self._toc, missing)
            taken = take_crumbs(self._toc, crumbs, short, self._blobs, self._partial.fd, self._progress)
            missing = [frame for frame in missing if frame not in taken]
        self._fetch(plan.ways.by_ranges(missing))

    def _fetch(self, ranges: Sequence[Slice]) -> None:
        if ranges:
            self._ranges += ranges
            fd, blob = self._partial.fd, self._found.layer
            with self._progress.task("pulling", length(ranges)) as task:
                apply(self._toc, ranges, self._blobs.plain, blob, fd, jobs=self._jobs, task=task)

    @contextmanager
    def _rebuilding(self, rebuilder: Rebuilder, frames: Collection[int]) -> Iterator[Rebuilding]:
        total = self._toc.plain_bytes(frames)
        with (
            (self._progress if total else NullProgress()).task("reusing local blocks", total) as task,
            Rebuilding(rebuilder, processors(), task) as rebuilding,
        ):
            yield rebuilding

    def _uses(self, used: Sequence[int]) -> tuple[SeedUse, ...]:
        # A delta is one more seed, the last, which nobody asked about.
        return tuple(SeedUse(seed.path, size) for seed, size in zip(self._seeds, used, strict=False) if size)

    def _right(self) -> FrameFlags:
        """Survey what an earlier pull left."""
        toc, fd = self._toc, self._partial.fd
        if os.fstat(fd).st_size == 0:
            return toc.kinds  # 1 for a frame of zeros
        with self._progress.task("checking what is here", toc.data_bytes) as task:
            return survey(fd, toc, self._jobs, task)

    def _prepare(self, right: FrameFlags) -> None:
        """Bring the file to its size, with nothing wrong where zeros belong."""
        toc, partial = self._toc, self._partial
        partial.resize(toc.disk.size)
        for frame, is_zero in enumerate(toc.kinds):
            if is_zero and not right[frame]:
                punch_hole(partial.fd, toc.disk_offsets[frame], toc.plain_size(frame))
