"""Hostile indexes of deltas: whatever is wrong with one, it is refused at once, in one line, without much memory."""

from __future__ import annotations

import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import zstandard

from haulout.chunked.delta import (
    MAX_INDEX_BYTES,
    MAX_REFERENCE_BLOCKS,
    MAX_REFERENCE_RATIO,
    MAX_SEGMENT_BLOCKS,
    DeltaIndex,
    Runs,
)
from haulout.errors import ContentError, InvalidDelta
from haulout.oci import Digest, SizedDigest

BLOCK = 4096
OLD, NEW = SizedDigest(Digest.of(b"old"), 100 * BLOCK), SizedDigest(Digest.of(b"new"), 90 * BLOCK - 5)


def columns(*values):
    return np.array(values, np.uint32)


def runs(*groups, restart):
    return Runs.of([np.array(group, np.int64) for group in groups], restart=restart)


def sample() -> DeltaIndex:
    """Three segments; the last needs no reference."""
    return DeltaIndex(
        OLD,
        NEW,
        columns(100, 200, 8000),
        runs([0, 1, 3], [2, 3, 4, 5], [], restart=True),
        runs([4, 5, 6, 10], [11, 40], [41, 89], restart=False),
        np.arange(6, dtype=np.uint64) + 7,
    )


def packed(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(plain)


def plain_of(index: DeltaIndex) -> bytearray:
    return bytearray(zstandard.ZstdDecompressor().decompress(index.encode()))


def refuse(data: bytes, match: str | None = None) -> None:
    with pytest.raises(InvalidDelta, match=match):
        DeltaIndex.decode(data)


def test_what_is_written_is_read_back():
    index = DeltaIndex.decode(sample().encode())
    assert index.encode() == sample().encode()
    assert (index.source, index.target, index.data_size, index.new_blocks, index.end) == (OLD, NEW, 8300, 8, 90)
    assert [(s.start, s.stop, s.blocks, s.reference) for s in index.segments] == [
        (0, 100, 4, 3),
        (100, 300, 2, 4),
        (300, 8300, 2, 0),
    ]
    assert [index.blocks_of(n).tolist() for n in range(3)] == [[4, 5, 6, 10], [11, 40], [41, 89]]
    assert [index.reference_of(n).tolist() for n in range(3)] == [[0, 1, 3], [2, 3, 4, 5], []]
    assert index.reference_hints.tolist() == [7, 8, 9, 10, 11, 12]


def test_every_byte_changed_is_refused_or_still_consistent():
    """An index that is accepted obeys every limit, so whoever uses it needs no checks of its own."""
    good = bytes(plain_of(sample()))
    accepted = 0
    for place in range(len(good)):
        for change in (0x01, 0x80, 0xFF):
            bad = bytearray(good)
            bad[place] ^= change
            try:
                index = DeltaIndex.decode(packed(bytes(bad)))
            except InvalidDelta:
                continue
            accepted += 1
            assert sum(segment.stop - segment.start for segment in index.segments) == index.data_size
            numbers = np.concatenate([index.blocks_of(n) for n in range(len(index.segments))])
            assert (np.diff(numbers) > 0).all()
            assert numbers[-1] < -(-index.target.size // BLOCK)
            for number, segment in enumerate(index.segments):
                assert len(index.blocks_of(number)) == segment.blocks
                assert (index.reference_of(number) < len(index.reference_hints)).all()
    # Digests, sizes and hints may be anything.
    assert 100 < accepted < 3 * len(good)


@pytest.mark.parametrize(
    ("offset", "value", "match"),
    [
        (0, b"haudelt2", "unknown format"),
        (8, struct.pack("<I", 512), "unknown format"),
        (12, struct.pack("<I", 0), "do not hold"),
        (12, struct.pack("<I", 0xFFFFFFFF), "do not hold"),
        (16, struct.pack("<I", 0xFFFFFFFF), "do not hold"),
        (20, struct.pack("<I", 0xFFFFFFFF), "do not hold"),
        (24, struct.pack("<I", 0xFFFFFFFF), "do not hold"),
        (28, b"\1", "unknown format"),
        (32, struct.pack("<Q", 1 << 60), "no possible disks"),
        (32, struct.pack("<Q", 0), "disks do not have"),
        (40, struct.pack("<Q", 1 << 60), "no possible disks"),
        (40, struct.pack("<Q", 89 * BLOCK), "disks do not have"),
        (112, b"\1", "unknown format"),
        (128, struct.pack("<I", 0), "empty segment"),
        (128, struct.pack("<I", 4 * (BLOCK + 64) + 65), "impossible compressed size"),
        (140, struct.pack("<I", 1), "do not add up"),
        (140, struct.pack("<I", 0xFFFFFFFF), "do not add up"),
        (152, struct.pack("<III", 0, 3, 3), "empty segment"),
        (164, struct.pack("<I", 4), "does not list"),
        (164, struct.pack("<I", 0xFFFFFFFF), "does not list"),
        (176, struct.pack("<I", 0), "do not add up"),
        (176, struct.pack("<I", MAX_REFERENCE_BLOCKS + 1), "oversized"),
        (188, struct.pack("<I", 0xFFFFFFFF), "disks do not have"),
        (188 + 24, struct.pack("<I", MAX_SEGMENT_BLOCKS), "oversized"),
    ],
)
def test_each_field_is_checked(offset, value, match):
    plain = plain_of(sample())
    # Header, three columns of segments, three ranges, six runs, six hints.
    assert len(plain) == 128 + 3 * 12 + 3 * 8 + 6 * 8 + 6 * 8
    plain[offset : offset + len(value)] = value
    refuse(packed(bytes(plain)), match)


def test_a_truncated_or_padded_index_is_refused():
    good = bytes(plain_of(sample()))
    for length in range(len(good)):
        refuse(packed(good[:length]))
    refuse(packed(good + b"\0"), "do not hold")
    whole = sample().encode()
    for length in range(len(whole)):
        refuse(whole[:length])
    refuse(whole + b"\0", "damaged")
    refuse(whole + packed(b"more"), "damaged")


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 40, b"haudelt1" * 16, bytes.fromhex("502a4d1800000000"), b"\x28\xb5\x2f\xfd"]
)
def test_what_is_no_frame_is_refused(data):
    refuse(data)


def test_a_bomb_is_refused_before_it_is_decoded():
    """A header that promises a gigabyte, one that promises nothing, and one that lies."""
    stated = zstandard.ZstdCompressor().compress(bytes(MAX_INDEX_BYTES + 1))
    context = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    unstated = context.compress(bytes(64 << 20)) + context.flush()
    tracemalloc.start()
    refuse(stated, "too large")
    refuse(unstated, "does not state")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_more_reference_than_new_blocks_are_worth_is_refused():
    one = SizedDigest(OLD.digest, 1 << 30)
    many = np.arange(MAX_REFERENCE_RATIO + 1, dtype=np.int64)
    with pytest.raises(InvalidDelta, match="more old blocks"):
        DeltaIndex(one, NEW, columns(9), runs(many, restart=True), runs([1], restart=False), many.astype(np.uint64))


def test_an_index_without_segments_is_refused():
    none = runs(restart=True)
    with pytest.raises(InvalidDelta, match="holds nothing"):
        DeltaIndex(OLD, NEW, columns(), none, none, np.empty(0, np.uint64))


def test_numbers_that_overflow_are_refused():
    """Skips that add up to more than 64 bits would come back to the beginning."""
    index = sample()
    skips = np.full(len(index.runs.skips), 0xFFFFFFFF, np.uint32)
    with pytest.raises(InvalidDelta, match="disks do not have"):
        replace(index, runs=replace(index.runs, skips=skips))


def test_it_is_an_error_of_content():
    assert issubclass(InvalidDelta, ContentError)
