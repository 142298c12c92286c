"""Bringing a disk here by its table of contents, as planned: from seeds, and the rest from the registry."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from haulout.content import read_blob
from haulout.disk import BLOCK, early_writeback, punch_hole, write_all
from haulout.errors import HauloutError, StorageError
from haulout.fetch.fetch_plan import by_ranges, length, seed_uses, short_frames
from haulout.frames import MAX_BUNDLE_BYTES, apply, read_bundle
from haulout.local import nameless_file, processors, storage_errors
from haulout.oci import Descriptor, SizedDigest, mediatype
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from haulout.content import BlobReader
    from haulout.fetch.bandwidth import MeasuringReader
    from haulout.fetch.fetch_plan import FramePlan
    from haulout.fetch.finding import DeltaPlan, Survey
    from haulout.fetch.results import Moved
    from haulout.fetch.seeds import Seed
    from haulout.fetch.target import Partial
    from haulout.frames import Piece, Rebuilder, Rebuilding, Slice, Toc
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk


@dataclass
class FrameRun:
    """One disk with a table of contents on its way into a partial file."""

    survey: Survey
    plan: FramePlan
    blobs: MeasuringReader
    """Reads from where the disk is."""
    found: ResolvedDisk
    partial: Partial
    seeds: Sequence[Seed]
    """Those of the survey, open."""
    progress: Progress
    _ranges: list[Slice] = field(default_factory=list)
    """Asked for so far."""
    _delta: SizedDigest | None = None
    """Used so far, with its bytes that came."""

    def run(self, *, further: int = 0) -> Moved:
        """Do what the plan says; what a seed, the delta or the bundle turn out not to hold is fetched instead.

        Args:
            further: bytes for which there has to be room as well.

        Raises:
            ContentError: a frame is not what the table of contents promises.
            StorageError: there is no room for the disk.
        """
        plan = self.plan
        if plan.rebuild or plan.fetch.delta is not None:
            given, cloned = self._reuse(further)
        else:
            given, cloned = [0] * len(self.seeds), 0
            self._require_room(further, None)
            self._prepare()
            with early_writeback(self.partial.fd):
                self._fetch_missing(plan.missing, plan.fetch.crumbs)
        for finding in self.survey.findings:
            cloned += finding.cloned
            given = [one + more for one, more in zip(given, finding.shares(finding.taken), strict=False)]
        return replace(
            plan.moved,
            fetched=self.blobs.received + length(self._ranges),
            ranges=len(self._ranges),
            delta=self._delta,
            seeds=seed_uses(self.survey, given),
            cloned=cloned,
        )

    def _reuse(self, further: int) -> tuple[list[int], int]:
        """Rebuild from seeds while the rest is fetched; return what each seed gave, and the bytes cloned of it."""
        from haulout.frames import Rebuilder  # noqa: PLC0415 - a pull without seeds does without

        plan, delta = self.plan, self.plan.fetch.delta
        rebuilder = Rebuilder(self.survey.toc, self.partial.fd)
        for seed in self.seeds:
            rebuilder.add_seed(seed.fd, shared=seed.shared)
        self._require_room(further, rebuilder)
        self._prepare()
        rebuilt = [*plan.rebuild, *(delta.covered if delta is not None else ())]
        with early_writeback(self.partial.fd), ExitStack() as stack:
            # One waits for the processor, the other for the network.
            with self._rebuilding(rebuilder, rebuilt) as rebuilding:
                rebuilding.add(plan.rebuild, self._pieces)
                if delta is None:
                    self._fetch_missing(plan.missing, plan.fetch.crumbs)
                else:
                    self._fetch_missing(self._expand(delta, rebuilder, rebuilding, stack), None)
                failed = rebuilding.finish()
            if failed:
                self.progress.note(f"{len(failed)} frames are no longer in the seeds; fetching them")
                self._fetch(failed)
        return rebuilder.used, rebuilder.cloned

    def _pieces(self, frames: Sequence[int]) -> list[list[Piece]]:
        """Return the pieces of each of some frames that the seeds hold."""
        found: dict[int, list[Piece]] = {}
        for finding in self.survey.findings:
            own = [frame for frame in frames if frame in finding.complete]
            found.update(zip(own, finding.pieces(own) if own else (), strict=True))
        return [found[frame] for frame in frames]

    def _require_room(self, further: int, rebuilder: Rebuilder | None) -> None:
        """Check that what will be written fits: the disk and the delta's blocks, but not what will be cloned."""
        plan, partial, toc = self.plan, self.partial, self.survey.toc
        needed = further + toc.plain_bytes(plan.rebuild) + toc.plain_bytes(plan.missing)
        needed += plan.fetch.delta.plain_size if plan.fetch.delta is not None else 0
        if rebuilder is not None and needed > partial.free:
            pieces = zip(plan.rebuild, self._pieces(plan.rebuild), strict=True)
            needed -= toc.plain_bytes(frame for frame, own in pieces if rebuilder.would_clone(own))
        partial.require_room(needed)

    def _prepare(self) -> None:
        """Bring the file to its size, with nothing wrong where zeros belong."""
        toc, partial = self.survey.toc, self.partial
        partial.resize(toc.disk.size)
        for frame, is_zero in enumerate(toc.kinds):
            if is_zero and not self.survey.right[frame]:
                punch_hole(partial.fd, toc.disk_offsets[frame], toc.plain_size(frame))

    def _expand(self, delta: DeltaPlan, rebuilder: Rebuilder, rebuilding: Rebuilding, stack: ExitStack) -> list[int]:
        """Make a seed of the delta, and rebuild what it completes while it comes; return the frames missing still.

        The seed is a file without a name, so that nothing is left of it whatever happens.
        """
        from haulout.fetch.completion import FrameCompletion  # noqa: PLC0415 - rarely needed
        from haulout.frames import expand  # noqa: PLC0415

        with storage_errors(self.partial.target, option="--output"):
            spare = stack.enter_context(nameless_file(self.partial.target.parent)).fileno()
        # Cloning what was just written would wait for it to reach the storage.
        rebuilder.add_seed(spare)
        finding, loaded = delta.finding, delta.delta
        completion = FrameCompletion(finding, len(self.seeds))

        def made(segment: int, offset: int, plain: bytes) -> None:
            names = finding.names_of(loaded, segment, plain)
            # Before local blocks: after an interruption nothing of it has to be fetched again.
            rebuilding.add(completion.add(offset // BLOCK, names), completion.pieces, first=True)

        name, before, failed = loaded.offer.manifest, self.blobs.received, False
        try:
            with self.progress.task("pulling a delta", delta.size) as task:
                what = (loaded.index, delta.segments, self.blobs, loaded.offer.data, finding.reference(loaded))
                expand(*what, [seed.fd for seed in self.seeds], spare, task, jobs=processors(), made=made)
        except StorageError:
            raise
        except HauloutError as error:
            failed = True
            self.progress.note(f"cannot use the delta {name.short}: {error}")
        if received := self.blobs.received - before:
            self._delta = SizedDigest(name, received)
        absent = len(delta.covered - completion.complete)
        if absent and not failed:
            self.progress.note(
                f"the delta {name.short} lacks {absent} of the {len(delta.covered)} frames planned from it; "
                "fetching them"
            )
        return [frame for frame in self.plan.missing if frame not in completion.complete]

    @contextmanager
    def _rebuilding(self, rebuilder: Rebuilder, frames: Collection[int]) -> Iterator[Rebuilding]:
        from haulout.frames import Rebuilding  # noqa: PLC0415 - as above

        total = self.survey.toc.plain_bytes(frames)
        with (
            (self.progress if total else NullProgress()).task("reusing local blocks", total) as task,
            Rebuilding(rebuilder, processors(), task) as rebuilding,
        ):
            yield rebuilding

    def _fetch_missing(self, missing: Sequence[int], crumbs: SizedDigest | None) -> None:
        taken: Collection[int] = ()
        if crumbs is not None:
            short = short_frames(self.survey.toc, missing)
            taken = take_bundle(self.survey.toc, crumbs, short, self.blobs, self.partial.fd, self.progress)
        self._fetch([frame for frame in missing if frame not in taken])

    def _fetch(self, frames: list[int]) -> None:
        if frames:
            ranges = by_ranges(self.survey, frames)
            self._ranges += ranges
            fd, blob, jobs = self.partial.fd, self.found.layer, self.survey.connections
            with self.progress.task("pulling", length(ranges)) as task:
                apply(self.survey.toc, ranges, self.blobs.plain, blob, fd, jobs=jobs, task=task)


def take_bundle(
    toc: Toc, crumbs: SizedDigest, wanted: set[int], blobs: BlobReader, fd: int, progress: Progress
) -> set[int]:
    """Fetch the small-frame bundle, and write those that are ``wanted`` to their places in ``fd``.

    Returns:
        The frames written, each verified; all others are left to be fetched by ranges, whatever was wrong.

    Raises:
        StorageError: the file cannot be written.
    """
    written: set[int] = set()
    blob = Descriptor(mediatype.CRUMBS, crumbs.digest, crumbs.size)
    try:
        data = read_blob(blobs, blob, MAX_BUNDLE_BYTES, "small-frame bundle")
        with progress.task("pulling small frames", toc.plain_bytes(wanted)) as task:
            for frame, plain in read_bundle(data, toc):
                if frame in wanted:
                    write_all(fd, plain, toc.disk_offsets[frame])
                    written.add(frame)
                    task.advance(len(plain))
    except StorageError:
        raise
    except HauloutError as error:
        progress.note(f"cannot use the small-frame bundle ({error}); fetching those frames separately")
    return written
