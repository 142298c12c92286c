"""Properties of guided framing and of taking frames over: any base, any answer, the disk is what it was."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.base_tables import framed_base, offsets, packed_disk, spans_of

from haulout.frames.base import Base
from haulout.frames.frame_reuse import FrameReuse
from haulout.frames.framing import MAX_DATA_BLOCKS, MAX_ZERO_BLOCKS, Kind
from haulout.frames.pack import Guide
from haulout.frames.small_frames import MAX_SMALL_FRAME, read_bundle
from haulout.frames.toc import Toc

BLOCK = 4096
PIECES = st.lists(st.tuples(st.sampled_from("abcxz"), st.integers(1, 900)), min_size=1, max_size=14)


def disk(pieces):
    """A disk of stretches: three that repeat, fresh ones, and zeros."""
    rng = np.random.default_rng(5)
    known = {name: rng.integers(1, 2**63, 900, dtype=np.uint64) for name in "abc"}
    parts, zero = [], []
    for number, (name, length) in enumerate(pieces):
        fresh = np.random.default_rng(number).integers(1, 2**63, length, dtype=np.uint64)
        parts.append(known[name][:length] if name in known else fresh)
        zero.append(np.full(length, name == "z"))
    return np.concatenate(parts), np.concatenate(zero)


@given(PIECES, PIECES)
@settings(deadline=None)
def test_spans_tile_the_disk_whatever_the_base(old, new):
    base, _ = framed_base(*disk(old))
    hashes, zero = disk(new)
    spans, in_zero = spans_of(hashes, zero, base)
    assert sum(span.blocks for span in spans) == len(hashes)
    kinds = np.concatenate([np.full(span.blocks, span.kind == Kind.ZERO) for span in spans])
    assert (kinds == in_zero).all()
    assert (in_zero == spans_of(hashes, zero)[1]).all(), "zero runs are as without a base"
    edges = offsets(spans)
    for span, start in zip(spans, edges, strict=False):
        assert 0 < span.blocks <= (MAX_ZERO_BLOCKS if span.kind is Kind.ZERO else MAX_DATA_BLOCKS)
        assert not span.is_small or span.blocks <= MAX_SMALL_FRAME
        if span.base is not None:
            assert base.lies_at(span.base, hashes, start)
            assert base.length(span.base) == span.blocks
    assert spans == spans_of(hashes, zero, base)[0], "the same again"


@given(PIECES, PIECES)
@settings(deadline=None)
def test_over_the_same_disk_nothing_changes_any_more(old, new):
    before, _ = framed_base(*disk(old))
    hashes, zero = disk(new)
    base, spans = framed_base(hashes, zero, before)
    again, _ = spans_of(hashes, zero, base)
    assert [(span.kind, span.blocks, span.is_small) for span in again] == [
        (span.kind, span.blocks, span.is_small) for span in spans
    ]


class Moody:
    """A source that answers with what it should, with other frames, with rubbish, or not at all."""

    def __init__(self, blob: bytes, base: Base, seed: int) -> None:
        self._blob, self._base, self._random = blob, base, random.Random(seed)

    def expect(self, number):
        start, stop = self._base.place(number)
        mood = self._random.choice(["right", "right", "none", "rubbish", "cut", "padded", "other", "checksum"])
        frame = self._blob[start:stop]

        def answer():
            if mood == "none":
                return None
            if mood == "checksum":
                plain = zstandard.ZstdDecompressor().decompress(frame)
                return zstandard.ZstdCompressor(write_checksum=True).compress(plain)
            return {
                "right": frame,
                "rubbish": bytes(len(frame)),
                "cut": frame[:-1],
                "padded": frame + b"\0",
                "other": self._blob[: len(frame)],
            }[mood]

        return answer

    def compressed(self, size, seconds):
        assert size > 0 <= seconds


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_a_packed_disk_is_the_disk_whatever_the_source_says(tmp_path_factory, seed, edits, jobs):
    folder = tmp_path_factory.mktemp("g")
    rng = random.Random(seed)
    content = bytearray(b"".join(rng.randbytes(64) * 64 for _ in range(900)) + bytes(40 * BLOCK) + rng.randbytes(5000))
    (folder / "old").write_bytes(content)
    blob, toc, hints, _ = packed_disk(folder / "old")
    for _ in range(edits):
        at = rng.randrange(900) * BLOCK
        content[at : at + BLOCK] = rng.randbytes(BLOCK)
    if edits % 2:
        content[BLOCK * 100 : BLOCK * 100] = rng.randbytes(BLOCK * 3)
    (folder / "new").write_bytes(content)
    base = Base(toc, hints)
    reuse = FrameReuse(Moody(blob, base, seed), lambda _: None)
    made, table, _, bundle = packed_disk(folder / "new", Guide(base, reuse), jobs=jobs)
    decoder = zstandard.ZstdDecompressor()
    plain = b"".join(decoder.decompress(made[a:b]) for a, b in pairwise(table.blob_offsets.tolist()))
    assert plain == content
    assert Toc.decode(table.encode()).encode() == table.encode()
    for frame, small in read_bundle(bundle, table) if bundle else ():
        start = int(table.disk_offsets[frame])
        assert small == content[start : start + len(small)]
    # Guided alone, without taking over, the same places are cut.
    assert packed_disk(folder / "new", Guide(base))[1].blocks.tolist() == table.blocks.tolist()


@given(st.binary(min_size=8, max_size=8 * 60).map(lambda data: data[: len(data) // 8 * 8]), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_lying_hints_only_move_cuts(tmp_path_factory, lies, seed):
    folder = tmp_path_factory.mktemp("l")
    (folder / "d").write_bytes(random.Random(seed).randbytes(60 * BLOCK))
    blob, toc, hints, _ = packed_disk(folder / "d")
    base = Base(toc, (lies + hints)[: len(hints)])
    reuse = FrameReuse(Moody(blob, base, 1), lambda _: None)
    made, table, said, _ = packed_disk(folder / "d", Guide(base, reuse))
    decoder = zstandard.ZstdDecompressor()
    plain = b"".join(decoder.decompress(made[a:b]) for a, b in pairwise(table.blob_offsets.tolist()))
    assert plain == (folder / "d").read_bytes()
    assert said == hints, "what is published are true hints"
