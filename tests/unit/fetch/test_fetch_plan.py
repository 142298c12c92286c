"""The plan of a pull: a pure function of what was found, which fetches every missing frame once and as cheaply as it can."""

from __future__ import annotations

from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from haulout.fetch.bandwidth import Bandwidth
from haulout.fetch.fetch_plan import FetchPlan, by_ranges, plan, short_frames
from haulout.fetch.finding import DeltaPlan, LoadedDelta, OfferedDelta, Survey, WholeFrames
from haulout.fetch.results import SeedUse
from haulout.frames.blocks import BLOCK
from haulout.frames.pieces import Piece
from haulout.frames.seektable import seek_table_size
from haulout.frames.small_frames import MAX_SMALL_FRAME
from haulout.frames.toc import Toc
from haulout.oci import Descriptor, Digest, SizedDigest

NONE = Digest("0" * 64)
SEEDS = (Path("a.raw"), Path("b.raw"))
KIB = 1024


def table(frames: list[tuple[int, int]]) -> Toc:
    """Return the table of a disk of these frames: blocks and bytes in the blob; 0 bytes for a frame of zeros."""
    compressed = [size or 20 for _, size in frames]
    blocks = [count for count, _ in frames]
    data = sum(count for count, size in frames if size)
    return Toc(
        SizedDigest(NONE, sum(blocks) * BLOCK),
        sum(compressed) + seek_table_size(len(frames)),
        SizedDigest(NONE, 8 * data),
        bytes(32 * len(frames)),
        array("I", compressed),
        array("I", blocks),
        bytes(0 if size else 1 for _, size in frames),
    )


def survey(toc: Toc, **changed: Any) -> Survey:
    """Return a survey that found nothing, but for what is ``changed``."""
    values: dict[str, Any] = {
        "right": toc.kinds,
        "findings": (),
        "deltas": (),
        "crumbs": None,
        "seeds": SEEDS,
        "bandwidth": Bandwidth(0.02, 1e6),
        "connections": 4,
        "received": 100,
    }
    return Survey(toc=toc, **(values | changed))


def whole(toc: Toc, frames, seed: int = 0, *, taken=()) -> WholeFrames:
    """Return the finding that a seed holds ``frames``."""
    pieces = {frame: Piece(seed, 0, toc.plain_size(frame)) for frame in frames}
    return WholeFrames(pieces, len(SEEDS), frozenset(taken))


class Completed(WholeFrames):
    """A finding that deltas complete, each some frames in one segment."""

    def with_delta(self, delta: LoadedDelta) -> DeltaPlan | None:  # type: ignore[override]
        return DeltaPlan(delta, self, (0,), delta.index.gives)  # type: ignore[arg-type,attr-defined]

    def shares(self, frames) -> list[int]:
        return [0] * len(SEEDS) if not self.whole else super().shares(frames)


def delta_of(size: int, gives) -> LoadedDelta:
    """Return a delta of one segment of ``size`` bytes that completes the frames ``gives``."""
    blob = Descriptor("application/octet-stream", NONE, size)
    index: Any = SimpleNamespace(
        segments=[SimpleNamespace(start=0, stop=size, blocks=len(gives))], gives=frozenset(gives)
    )
    return LoadedDelta(OfferedDelta(Digest("d" * 64), SizedDigest(NONE, 1), blob, None, blob), index)


LARGE = (64, 100 * KIB)
ZERO = (64, 0)
SMALL = (1, 1 * KIB)


def test_where_nothing_is_here_all_data_is_fetched_in_ranges():
    toc = table([LARGE, ZERO, LARGE])
    steps = plan(survey(toc))
    assert (steps.rebuild, steps.missing) == ((), (0, 2))
    assert [piece.frames for piece in steps.fetch.ranges] == [(0, 2)]
    assert (steps.moved.fetched, steps.moved.index) == (100 + steps.fetch.size, 100)
    assert (steps.moved.reused, steps.moved.zero, steps.moved.seeds) == (0, 64 * BLOCK, ())


def test_what_is_in_place_is_neither_fetched_nor_rebuilt():
    toc = table([LARGE, ZERO, LARGE])
    steps = plan(survey(toc, right=bytes([1, 1, 1]), findings=(whole(toc, [2]),), received=0))
    assert (steps.rebuild, steps.missing, steps.fetch) == ((), (), FetchPlan(()))
    assert (steps.moved.fetched, steps.moved.reused) == (0, 128 * BLOCK)


def test_what_a_seed_holds_is_rebuilt_and_what_was_taken_at_once_is_not_done_again():
    toc = table([LARGE] * 4)
    findings = (whole(toc, [0]), whole(toc, [1, 2], 1, taken=[1, 2]))
    steps = plan(survey(toc, findings=findings))
    assert (steps.rebuild, steps.missing) == ((0,), (3,))
    assert steps.moved.seeds == (SeedUse(SEEDS[0], 64 * BLOCK), SeedUse(SEEDS[1], 128 * BLOCK))


def test_many_small_frames_far_apart_come_in_the_bundle_and_a_few_do_not():
    toc = table([SMALL, LARGE] * 40)
    right = bytes([0, 1] * 40)
    bundle = SizedDigest(NONE, 60 * KIB)
    steps = plan(survey(toc, right=right, crumbs=bundle))
    assert (steps.fetch.crumbs, steps.fetch.ranges, steps.moved.crumbs) == (bundle, (), 60 * KIB)
    few = plan(survey(toc, right=bytes([0, *[1] * 79]), crumbs=bundle))
    assert (few.fetch.crumbs, len(few.fetch.ranges), few.moved.crumbs) == (None, 1, 0)


def test_a_delta_is_used_where_it_is_cheaper_and_the_cheapest_of_several():
    toc = table([LARGE] * 4)
    found = Completed({}, len(SEEDS))
    small, smaller, huge = delta_of(50 * KIB, [0, 1, 2]), delta_of(40 * KIB, [0, 1, 2]), delta_of(900 * KIB, range(4))
    steps = plan(survey(toc, findings=(found,), deltas=(small, smaller, huge)))
    assert steps.fetch.delta is not None
    assert steps.fetch.delta.delta is smaller
    assert [piece.frames for piece in steps.fetch.ranges] == [(3,)]
    assert steps.moved.delta == SizedDigest(smaller.offer.manifest, 40 * KIB)
    assert plan(survey(toc, findings=(found,), deltas=(huge,))).fetch.delta is None


def test_no_delta_is_used_where_nothing_is_missing():
    toc = table([LARGE] * 2)
    findings = (whole(toc, [0, 1]), Completed({}, len(SEEDS)))
    assert plan(survey(toc, findings=findings, deltas=(delta_of(1, [0]),))).fetch == FetchPlan(())


@st.composite
def surveys(draw) -> Survey:
    """Draw a disk, and what is here of it."""
    sizes = st.sampled_from([ZERO, SMALL, (4, 9 * KIB), LARGE])
    toc = table(draw(st.lists(sizes, min_size=1, max_size=40)))
    every = list(range(len(toc)))
    frames = st.sets(st.sampled_from(every))
    right = bytes(kind or (frame in held) for held in [draw(frames)] for frame, kind in enumerate(toc.kinds))
    rest = [frame for frame in toc.data_frames if not right[frame]]
    some = st.sets(st.sampled_from(rest)) if rest else st.just(set())
    same, in_place = draw(some), draw(some)
    taken = draw(some) & (in_place - same)
    gone = same | in_place
    deltas = [delta_of(draw(st.integers(1, 200 * KIB)), draw(some) - gone) for _ in range(draw(st.integers(0, 3)))]
    return survey(
        toc,
        right=right,
        findings=(whole(toc, same), whole(toc, in_place - same, 1, taken=taken), Completed({}, len(SEEDS))),
        deltas=tuple(each for each in deltas if each.index.gives),  # type: ignore[attr-defined]
        crumbs=draw(st.none() | st.integers(1, 100 * KIB).map(lambda size: SizedDigest(NONE, size))),
        bandwidth=Bandwidth(draw(st.floats(0, 1)), draw(st.floats(1e4, 1e9))),
        connections=draw(st.integers(1, 8)),
        received=draw(st.integers(0, 1000)),
    )


@settings(deadline=None)
@given(surveys())
def test_every_frame_comes_in_exactly_one_way(found):
    toc, steps = found.toc, plan(found)
    taken = [frame for finding in found.findings for frame in finding.taken]
    here = [frame for frame in toc.data_frames if found.right[frame]]
    assert sorted([*here, *taken, *steps.rebuild, *steps.missing]) == toc.data_frames
    by_range = [frame for piece in steps.fetch.ranges for frame in piece.frames]
    rest = set(steps.missing) - set(by_range)
    assert len(by_range) == len(set(by_range))
    if steps.fetch.delta is not None:
        assert steps.fetch.crumbs is None
        assert rest == steps.fetch.delta.covered
    else:
        assert rest == (short_frames(toc, steps.missing) if steps.fetch.crumbs is not None else set())
        assert all(toc.blocks[frame] <= MAX_SMALL_FRAME for frame in rest)


@settings(deadline=None)
@given(surveys())
def test_no_way_that_is_offered_is_cheaper(found):
    steps = plan(found)

    def cost(way: FetchPlan) -> int:
        bandwidth: Bandwidth = found.bandwidth
        return bandwidth.cost(way.size, way.requests, found.connections)

    missing = list(steps.missing)
    assert cost(steps.fetch) <= cost(FetchPlan(by_ranges(found, missing)))
    for delta in found.deltas:
        gives = delta.index.gives
        rest = by_ranges(found, [frame for frame in missing if frame not in gives])
        assert not missing or cost(steps.fetch) <= cost(FetchPlan(rest, delta=DeltaPlan(delta, found, (0,), gives)))


@settings(deadline=None)
@given(surveys())
def test_the_figures_add_up_and_nothing_but_the_survey_decides(found):
    steps = plan(found)
    assert steps == plan(found)
    moved, toc = steps.moved, found.toc
    assert moved.fetched == found.received + steps.fetch.size
    by_seeds = sum(use.size for use in moved.seeds)
    assert moved.reused + by_seeds + toc.plain_bytes(steps.missing) + moved.zero == toc.disk.size
