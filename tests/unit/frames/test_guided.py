"""Guided framing: frames of the base are found again, new blocks are kept apart from known ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.support.base_tables import FRAMING, base_of, framed_base, offsets, random_hashes, spans_of

from haulout.errors import InvalidToc
from haulout.frames.base import MIN_KEPT, Base
from haulout.frames.blocks import ZERO_HINT
from haulout.frames.framing import MIN_ZERO_RUN, Framing, Kind, Span
from haulout.frames.guided import FINE, MAX_GAP
from haulout.frames.small_frames import MAX_SMALL_FRAME


def fresh(spans, base, hashes):
    """Which data spans hold a block that the base lacks."""
    edges = offsets(spans)
    known = base.knows(hashes)
    return [
        span.kind is Kind.DATA and not known[start:stop].all()
        for span, start, stop in zip(spans, edges, edges[1:], strict=False)
    ]


def test_the_same_disk_is_cut_in_the_same_places():
    hashes = random_hashes(9000)
    zero = np.zeros(9000, bool)
    zero[2000:2100] = zero[5000:5007] = zero[8990:] = True
    hashes[zero] = ZERO_HINT
    base, spans = framed_base(hashes, zero)
    again, _ = spans_of(hashes, zero, base)
    assert [(span.kind, span.blocks) for span in again] == [(span.kind, span.blocks) for span in spans]
    data = [span for span in again if span.kind is Kind.DATA]
    assert [span.base for span in data] == list(range(len(data)))


@pytest.mark.parametrize("shift", [1, 7, 100, 1023, 5000])
def test_frames_of_the_base_are_found_wherever_they_have_moved(shift):
    hashes = random_hashes(9000)
    base, spans = framed_base(hashes)
    moved = np.concatenate([random_hashes(shift, 1), hashes])
    again, _ = spans_of(moved, base=base)
    assert [span.base for span in again if span.base is not None] == list(range(len(spans)))
    assert sum(span.blocks for span in again if span.base is None) == shift


def test_frames_are_found_in_another_order():
    hashes = random_hashes(9000)
    base, spans = framed_base(hashes)
    edges = offsets(spans)
    pieces = [hashes[start:stop] for start, stop in pairwise(edges)]
    again, _ = spans_of(np.concatenate(pieces[::-1]), base=base)
    # The last may be shorter than what is looked for anywhere.
    kept = [number for number, span in enumerate(spans) if span.blocks >= MIN_KEPT]
    assert [span.base for span in again if span.base is not None] == kept[::-1]


def test_one_changed_block_costs_one_short_frame():
    hashes = random_hashes(9000)
    base, spans = framed_base(hashes)
    changed = hashes.copy()
    changed[4500] = 1
    again, _ = spans_of(changed, base=base)
    new = [span for span, is_new in zip(again, fresh(again, base, changed), strict=True) if is_new]
    assert new == [Span(Kind.DATA, 1, is_small=True)]
    assert sum(span.base is not None for span in again) == len(spans) - 1


@pytest.mark.parametrize(("gap", "frames"), [(MAX_GAP, 1), (MAX_GAP + 1, 2)])
def test_short_stretches_of_known_blocks_stay_with_the_new_ones_around_them(gap, frames):
    hashes = random_hashes(9000)
    base, _ = framed_base(hashes)
    changed = hashes.copy()
    changed[4500] = 1
    changed[4501 + gap] = 2
    again, _ = spans_of(changed, base=base)
    assert sum(fresh(again, base, changed)) == frames


def test_zero_blocks_are_known_to_everybody():
    base, _ = framed_base(random_hashes(100))
    assert base.knows(np.array([ZERO_HINT, 5], np.uint64)).tolist() == [True, False]


def test_new_blocks_are_cut_finely_whatever_the_level():
    base, _ = framed_base(random_hashes(100))
    spans, _ = spans_of(random_hashes(20_000, 1), base=base, framing=Framing.for_level(19))
    assert max(span.blocks for span in spans) <= FINE.most
    assert all(span.base is None and not span.is_small for span in spans[:-1])


def test_a_small_frame_of_the_base_stays_in_the_bundle():
    hashes = random_hashes(3000)
    first, _ = framed_base(hashes)
    changed = hashes.copy()
    changed[1500:1503] = [1, 2, 3]
    second, spans = framed_base(changed, base=first)
    assert [span.blocks for span in spans if span.is_small] == [3]
    third, _ = spans_of(changed, base=second)
    assert [(span.blocks, span.base is not None) for span in third if span.is_small] == [(3, True)]
    assert MAX_SMALL_FRAME >= 3


def test_zero_runs_are_as_without_a_base():
    hashes = random_hashes(5000)
    zero = np.zeros(5000, bool)
    zero[1000 : 1000 + MIN_ZERO_RUN] = zero[2000:2003] = True
    hashes[zero] = ZERO_HINT
    base, spans = framed_base(random_hashes(50, 7))
    guided, in_zero = spans_of(hashes, zero, base)
    assert [span.blocks for span in guided if span.kind is Kind.ZERO] == [MIN_ZERO_RUN]
    assert in_zero.sum() == MIN_ZERO_RUN
    assert spans


def test_a_base_of_one_block_repeated_ends_in_good_time():
    hashes = np.full(20_000, 77, np.uint64)
    base, _ = framed_base(hashes)
    almost = hashes.copy()
    almost[::300] = 5
    spans, _ = spans_of(almost, base=base)
    assert sum(span.blocks for span in spans) == 20_000


def test_hints_must_fit_their_table():
    spans = [Span(Kind.DATA, 3)]
    base = base_of(random_hashes(3), spans, np.zeros(3, bool))
    with pytest.raises(InvalidToc, match="hints"):
        Base(base.toc, bytes(16))


def test_a_base_without_data_is_a_base():
    zero = np.ones(64, bool)
    base, _ = framed_base(np.full(64, ZERO_HINT), zero)
    spans, _ = spans_of(random_hashes(2000), base=base)
    assert sum(span.blocks for span in spans) == 2000
    assert FRAMING.most >= max(span.blocks for span in spans)
