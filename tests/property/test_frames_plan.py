"""Planning a pull: every wanted frame in exactly one request, and no byte of a frame that is here."""

from __future__ import annotations

import hashlib
from array import array

from hypothesis import given
from hypothesis import strategies as st

from haulout.frames.blocks import BLOCK
from haulout.frames.framing import Kind
from haulout.frames.plan import SLICE, slices, wanted_frames
from haulout.frames.seektable import seek_table_size
from haulout.frames.toc import Toc
from haulout.oci import Digest, SizedDigest


def toc_of(frames: list[tuple[Kind, int]]) -> Toc:
    """A valid table with frames of these kinds and compressed sizes; each covers 256 blocks."""
    kinds = bytes(kind for kind, _ in frames)
    sha256 = b"".join(hashlib.sha256(b"data").digest() if kind is Kind.DATA else bytes(32) for kind, _ in frames)
    compressed = array("I", [size for _, size in frames])
    blocks = array("I", [256] * len(frames))
    data_blocks = 256 * kinds.count(Kind.DATA)
    return Toc(
        SizedDigest(Digest("0" * 64), 256 * BLOCK * len(frames)),
        sum(compressed) + seek_table_size(len(frames)),
        SizedDigest(Digest("1" * 64), 8 * data_blocks),
        sha256,
        compressed,
        blocks,
        kinds,
    )


frame = st.one_of(
    st.tuples(st.just(Kind.DATA), st.integers(1, 1 << 20)),
    st.tuples(st.just(Kind.DATA), st.integers(1, 2000)),
    st.tuples(st.just(Kind.ZERO), st.integers(1, 60)),
)


@given(st.lists(st.tuples(frame, st.booleans()), min_size=1, max_size=120), st.sampled_from([SLICE, 100_000]))
def test_wanted_frames_are_fetched_once_and_what_is_here_is_not(drawn, slice_bytes):
    toc = toc_of([item for item, _ in drawn])
    right = bytes(here for _, here in drawn)
    wanted = wanted_frames(toc, right)
    plan = slices(toc, wanted, verified=right, slice_bytes=slice_bytes)
    assert [frame for piece in plan for frame in piece.frames] == wanted
    read = [
        number
        for piece in plan
        for number in range(len(toc))
        if piece.start < toc.blob_offsets[number + 1] and toc.blob_offsets[number] < piece.stop
    ]
    assert not [number for number in read if right[number] and toc.kinds[number] == Kind.DATA]
    assert len(read) == len(set(read))
    for piece in plan:
        assert piece.start == toc.blob_offsets[piece.frames[0]]
        assert piece.stop == toc.blob_offsets[piece.frames[-1] + 1]
        assert len(piece.frames) == 1 or piece.stop - piece.start <= slice_bytes


def test_a_hole_between_two_frames_does_not_cost_a_request():
    toc = toc_of([(Kind.DATA, 1000), *[(Kind.ZERO, 14)] * 20, (Kind.DATA, 1000)])
    (piece,) = slices(toc, [0, 21], verified=toc.kinds)
    assert (piece.start, piece.stop) == (0, 2280)


def test_a_very_long_row_of_holes_does():
    toc = toc_of([(Kind.DATA, 1000), *[(Kind.ZERO, 14)] * 5000, (Kind.DATA, 1000)])
    assert len(slices(toc, [0, len(toc) - 1], verified=toc.kinds)) == 2
