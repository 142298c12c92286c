"""How a disk comes here: what is rebuilt from local files, and the cheapest way to fetch the rest. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.fetch.results import Moved, SeedUse
from haulout.frames import MAX_SMALL_FRAME, slices, wanted_frames
from haulout.oci import SizedDigest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from haulout.fetch.finding import DeltaPlan, Survey
    from haulout.frames import Slice, Toc


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """One way to fetch what is missing: a delta or none, the small-frame bundle or not, and ranges for the rest."""

    ranges: tuple[Slice, ...]
    crumbs: SizedDigest | None = None
    """The small-frame bundle, if it is used."""
    delta: DeltaPlan | None = None

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        size = length(self.ranges)
        size += self.crumbs.size if self.crumbs is not None else 0
        return size + (self.delta.size if self.delta is not None else 0)

    @property
    def requests(self) -> int:
        """Requests it takes."""
        requests = len(self.ranges) + (self.crumbs is not None)
        return requests + (self.delta.requests if self.delta is not None else 0)


@dataclass(frozen=True, slots=True)
class FramePlan:
    """How the frames of a disk come into its partial file."""

    rebuild: tuple[int, ...]
    """Frames that are put together from seeds, ascending, without those that a finder put in place already."""
    missing: tuple[int, ...]
    """Frames of which no seed holds all, ascending."""
    fetch: FetchPlan
    """How these come."""
    moved: Moved
    """What all of it comes to."""


def plan(survey: Survey) -> FramePlan:
    """Decide how the frames that are not in place come here."""
    toc, findings = survey.toc, survey.findings
    complete = frozenset[int]().union(*(finding.complete for finding in findings))
    taken = frozenset[int]().union(*(finding.taken for finding in findings))
    wanted = wanted_frames(toc, survey.right)
    missing = [frame for frame in wanted if frame not in complete]
    fetch = cheapest(survey, missing)
    moved = Moved(
        fetched=survey.received + fetch.size,
        index=survey.received,
        ranges=len(fetch.ranges),
        crumbs=fetch.crumbs.size if fetch.crumbs is not None else 0,
        delta=None if fetch.delta is None else SizedDigest(fetch.delta.delta.offer.manifest, fetch.delta.size),
        reused=toc.data_bytes - toc.plain_bytes(wanted),
        seeds=seed_uses(survey, _shares(survey, fetch.delta)),
        zero=toc.disk.size - toc.data_bytes,
    )
    rebuild = tuple(frame for frame in wanted if frame in complete and frame not in taken)
    return FramePlan(rebuild, tuple(missing), fetch, moved)


def cheapest(survey: Survey, missing: list[int]) -> FetchPlan:
    """Return the cheapest way to fetch the frames ``missing``, by bytes and by what requests cost in bytes."""
    alternatives = [FetchPlan(by_ranges(survey, missing))]
    short = short_frames(survey.toc, missing)
    if survey.crumbs is not None and short:
        rest = [frame for frame in missing if frame not in short]
        alternatives.append(FetchPlan(by_ranges(survey, rest), survey.crumbs))
    if missing:
        found = (finding.with_delta(delta) for finding in survey.findings for delta in survey.deltas)
        for delta in filter(None, found):
            rest = [frame for frame in missing if frame not in delta.covered]
            alternatives.append(FetchPlan(by_ranges(survey, rest), delta=delta))
    return min(alternatives, key=lambda each: survey.bandwidth.cost(each.size, each.requests, survey.connections))


def by_ranges(survey: Survey, frames: list[int]) -> tuple[Slice, ...]:
    """Return the ranges of the disk's blob that fetch ``frames``, ascending."""
    gap = survey.bandwidth.gap(survey.connections)
    return tuple(slices(survey.toc, frames, verified=survey.right, gap=gap))


def short_frames(toc: Toc, frames: Iterable[int]) -> set[int]:
    """Return which of ``frames`` are short enough for the small-frame bundle."""
    return {frame for frame in frames if toc.blocks[frame] <= MAX_SMALL_FRAME}


def length(ranges: Iterable[Slice]) -> int:
    """Return the bytes of ``ranges``."""
    return sum(piece.stop - piece.start for piece in ranges)


def seed_uses(survey: Survey, given: Sequence[int]) -> tuple[SeedUse, ...]:
    """Return the seeds with the bytes each gives; a delta's blocks, which come after them, are not shown."""
    return tuple(SeedUse(path, size) for path, size in zip(survey.seeds, given, strict=False) if size)


def _shares(survey: Survey, delta: DeltaPlan | None) -> list[int]:
    """Return the plain bytes each seed gives, if all goes well."""
    given = [0] * len(survey.seeds)
    for finding in survey.findings:
        covered = delta.covered if delta is not None and delta.finding is finding else ()
        for number, size in enumerate(finding.shares([*finding.complete, *covered])):
            given[number] += size
    return given
