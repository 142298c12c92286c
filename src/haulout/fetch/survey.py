"""Surveying a pull: what of the disk is in place, what seeds hold of it, and what is offered for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.disk import size_of
from haulout.errors import ToolError
from haulout.extras import require
from haulout.fetch.finding import Survey
from haulout.frames import survey as survey_frames
from haulout.frames import wanted_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.fetch.bandwidth import MeasuringReader
    from haulout.fetch.finding import Finding, LoadedDelta
    from haulout.fetch.results import PullOptions
    from haulout.fetch.seeds import Seed
    from haulout.fetch.target import Partial
    from haulout.frames import FrameFlags, Toc
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk


def survey(
    toc: Toc,
    blobs: MeasuringReader,
    found: ResolvedDisk,
    partial: Partial,
    seeds: Sequence[Seed],
    options: PullOptions,
    progress: Progress,
) -> Survey:
    """Find out what is here already and what is offered. Of the registry, only indexes are read.

    What seeds hold at its own place is written to the partial file while it is looked for, but for a dry run.

    Args:
        toc: of the disk.
        blobs: reads from where it is.
        found: the disk.
        partial: what an earlier pull left is kept where it is right; for a dry run, open for reading only.
        seeds: local files whose blocks may be reused; none: neither hints nor deltas are fetched.
        options: of the pull.
        progress: receives tasks and notes.

    Raises:
        StorageError: there is no room for what is written.
        UnreachableError: the registry failed for good.
    """
    right = _frames_in_place(toc, partial, options.jobs, progress)
    wanted = wanted_frames(toc, right)
    findings: tuple[Finding, ...] = ()
    deltas: tuple[LoadedDelta, ...] = ()
    if seeds and wanted and _can_reuse(progress):
        from haulout.fetch.reuse import find_reusable  # noqa: PLC0415 - loads numpy

        own = None if options.dry_run else partial
        findings, deltas = find_reusable(
            toc, wanted, blobs, found, seeds, progress, partial=own, use_deltas=options.use_deltas
        )
    return Survey(
        toc,
        right,
        findings,
        deltas,
        found.crumbs,
        tuple(seed.path for seed in seeds),
        blobs.bandwidth(),
        options.jobs,
        blobs.received,
    )


def _can_reuse(progress: Progress) -> bool:
    try:
        require("numpy", extra="deltas")
    except ToolError as error:
        progress.note(f"not reusing local blocks, which needs the Python package numpy ({error.hint})")
        return False
    return True


def _frames_in_place(toc: Toc, partial: Partial, jobs: int, progress: Progress) -> FrameFlags:
    """Return which frames an earlier pull left at their places; in a new file, those of zeros."""
    if size_of(partial.fd) == 0:
        return toc.kinds  # 1 for a frame of zeros
    with progress.task("checking existing data", toc.data_bytes) as task:
        return survey_frames(partial.fd, toc, jobs, task)
