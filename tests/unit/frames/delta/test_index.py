"""Hostile indexes of deltas: whatever is wrong with one, it is refused at once, in one line, without much memory."""

from __future__ import annotations

import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import zstandard

from haulout.errors import ContentError, InvalidDelta
from haulout.frames.delta.index import (
    MAX_DISK,
    MAX_HINTS_BYTES,
    MAX_INDEX_BYTES,
    MAX_REFERENCE_BLOCKS,
    MAX_REFERENCE_RATIO,
    MAX_SEGMENT_BLOCKS,
    DeltaIndex,
)
from haulout.frames.delta.map import Map, Source
from haulout.frames.delta.runs import Runs
from haulout.oci import Digest, SizedDigest

BLOCK = 4096
OLD, NEW = SizedDigest(Digest.of(b"old"), 100 * BLOCK), SizedDigest(Digest.of(b"new"), 90 * BLOCK - 5)


def columns(*values):
    return np.array(values, np.uint32)


def runs(*groups, restart):
    return Runs.of([np.array(group, np.int64) for group in groups], restart=restart)


OLD_RUNS = [3, 4, 20, 21, 22, 99]
REST = [
    *((Source.OLD, number) for number in range(40, 70)),
    (Source.ZEROS, 0),
    (Source.ZEROS, 0),
    *((Source.OLD, number) for number in range(72, 100)),
    (Source.NEW, 7),
    *((Source.OLD, number) for number in range(20)),
    (Source.NEW, 0),
]


def map_of(*rest):
    return Map.of(
        np.array([source for source, _ in rest], np.uint8), np.array([number for _, number in rest], np.int64)
    )


def sample() -> DeltaIndex:
    """Three segments; the last needs no reference. The map leads everywhere there is."""
    return DeltaIndex(
        OLD,
        NEW,
        columns(100, 200, 8000),
        runs([0, 1, 3], [2, 3, 4, 5], [], restart=True),
        runs([4, 5, 6, 10], [11, 40], [41, 89], restart=False),
        runs(OLD_RUNS, restart=True),
        map_of(*REST),
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
    assert (index.source, index.target, index.data_size, index.new_blocks, index.data_blocks) == (OLD, NEW, 8300, 8, 90)
    assert [(s.start, s.stop, s.blocks, s.reference) for s in index.segments] == [
        (0, 100, 4, 3),
        (100, 300, 2, 4),
        (300, 8300, 2, 0),
    ]
    assert [index.blocks_of(n).tolist() for n in range(3)] == [[4, 5, 6, 10], [11, 40], [41, 89]]
    assert [index.reference_of(n).tolist() for n in range(3)] == [[0, 1, 3], [2, 3, 4, 5], []]
    assert index.reference.tolist() == OLD_RUNS
    assert index.segment_edges.tolist() == [0, 4, 6, 8]
    sources, numbers = index.tiles.at(np.arange(0, 90))
    fresh = [4, 5, 6, 10, 11, 40, 41, 89]
    assert [(sources[place], numbers[place]) for place in fresh] == [(Source.NEW, number) for number in range(8)]
    rest = [place for place in range(90) if place not in fresh]
    assert [(sources[place], numbers[place] * (sources[place] != Source.ZEROS)) for place in rest] == REST


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
                assert (index.reference_of(number) < len(index.reference)).all()
            assert (np.diff(index.reference) > 0).all()
            assert index.reference[-1] < -(-index.source.size // BLOCK)
            sources, places = index.tiles.at(np.arange(0, index.data_blocks))
            assert len(sources) == index.data_blocks <= -(-index.target.size // BLOCK)
            assert (sources[numbers] == Source.NEW).all()
            assert places[numbers].tolist() == list(range(index.new_blocks))
            assert (places >= 0).all()
            assert (places[sources == Source.OLD] < -(-index.source.size // BLOCK)).all()
            assert (places[sources == Source.NEW] < index.new_blocks).all()
    # Digests and sizes may be anything, and some of the numbers something else.
    assert 100 < accepted < 2 * len(good)


# Header, three columns of segments, three ranges, six runs; then three runs of old blocks and six of the map.
RANGES, NEW_RUNS, OLDS = 128 + 3 * 12, 128 + 3 * 12 + 3 * 8, 128 + 3 * 12 + 3 * 8 + 6 * 8
COUNTS = OLDS + 3 * 8
LEAPS, SOURCES = COUNTS + 6 * 4, COUNTS + 6 * 8


@pytest.mark.parametrize(
    ("offset", "value", "match"),
    [
        (0, b"haudelt1", "unknown format"),
        (0, b"haudelt3", "unknown format"),
        (8, struct.pack("<I", 512), "unknown format"),
        (12, struct.pack("<I", 0), "do not hold"),
        *((offset, struct.pack("<I", 0xFFFFFFFF), "do not hold") for offset in (12, 16, 20, 24, 28)),
        (32, b"\1", "unknown format"),
        (36, b"\1", "unknown format"),
        (40, struct.pack("<Q", MAX_DISK + 1), "impossible disk size"),
        (40, struct.pack("<Q", 0), "disks do not have"),
        (40, struct.pack("<Q", 99 * BLOCK), "disks do not have"),
        (48, struct.pack("<Q", MAX_DISK + 1), "impossible disk size"),
        (48, struct.pack("<Q", 89 * BLOCK), "disks do not have"),
        (120, b"\1", "unknown format"),
        (128, struct.pack("<I", 0), "empty segment"),
        (128, struct.pack("<I", 4 * (BLOCK + 64) + 65), "impossible compressed size"),
        (140, struct.pack("<I", 1), "do not add up"),
        (140, struct.pack("<I", 0xFFFFFFFF), "do not add up"),
        (152, struct.pack("<III", 0, 3, 3), "empty segment"),
        (RANGES, struct.pack("<I", 4), "does not list"),
        (RANGES, struct.pack("<I", 0xFFFFFFFF), "does not list"),
        (RANGES + 12, struct.pack("<I", 0), "do not add up"),
        (RANGES + 12, struct.pack("<I", MAX_REFERENCE_BLOCKS + 1), "oversized"),
        (NEW_RUNS, struct.pack("<I", 5), "disks do not have"),
        (NEW_RUNS, struct.pack("<I", 0xFFFFFFFF), "disks do not have"),
        (NEW_RUNS + 24, struct.pack("<I", MAX_SEGMENT_BLOCKS), "oversized"),
        (OLDS, struct.pack("<I", 4), "disks do not have"),
        (OLDS, struct.pack("<I", 0xFFFFFFFF), "disks do not have"),
        (OLDS + 12, struct.pack("<I", 0), "do not add up"),
        (OLDS + 12, struct.pack("<I", 1), "does not list"),
        (OLDS + 12, struct.pack("<I", 0xFFFFFFFF), "lists more old blocks"),
        (COUNTS, struct.pack("<II", 0, 32), "empty, or of an unknown source"),
        (COUNTS, struct.pack("<I", 31), "disks do not have"),
        (COUNTS + 8, struct.pack("<II", 27, 2), "leads out"),
        (COUNTS, struct.pack("<I", 0xFFFFFFFF), "disks do not have"),
        (LEAPS, struct.pack("<I", 71), "leads out"),
        (LEAPS, struct.pack("<I", 0xFFFFFFFF), "leads out"),
        (LEAPS + 4, struct.pack("<I", 1), "unknown source"),
        (LEAPS + 12, struct.pack("<I", 8), "leads out"),
        (SOURCES, b"\3", "unknown source"),
        (SOURCES, b"\xff", "unknown source"),
        (SOURCES, b"\2", "leads out"),
    ],
)
def test_each_field_is_checked(offset, value, match):
    plain = plain_of(sample())
    assert len(plain) == SOURCES + 6
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
    with pytest.raises(InvalidDelta, match="too many old blocks"):
        DeltaIndex(
            one, NEW, columns(9), runs(many, restart=True), runs([1], restart=False), runs(many, restart=True), map_of()
        )


def test_more_old_blocks_than_a_reader_looks_for_are_refused():
    large = SizedDigest(OLD.digest, MAX_DISK)
    most = MAX_HINTS_BYTES // 8
    listed = Runs(columns(1), columns(0), columns(most))
    assert replace(sample(), source=large, old=listed).old.total == most
    with pytest.raises(InvalidDelta, match="than a reader accepts"):
        replace(sample(), source=large, old=Runs(columns(1), columns(0), columns(most + 1)))


@pytest.mark.parametrize("kind", ["map", "old"])
def test_the_largest_index_takes_bounded_memory(kind):
    """As many runs as an index may have."""
    many = MAX_INDEX_BYTES // 9 - 100
    disk = SizedDigest(OLD.digest, MAX_DISK)
    ones, none = np.ones(many, np.uint32), np.zeros(many, np.uint32)
    index = replace(sample(), source=disk, target=disk)
    if kind == "map":
        index = replace(index, map=Map(ones, none, np.arange(many, dtype=np.uint8) % 2))
    else:
        index = replace(index, old=Runs(columns(many), ones, ones))
    data = index.encode()
    tracemalloc.start()
    read = DeltaIndex.decode(data)
    read.tiles.at(np.arange(0, min(1000, read.data_blocks)))
    assert len(read.reference) == read.old.total
    assert tracemalloc.get_traced_memory()[1] < 256 << 20
    tracemalloc.stop()


def test_an_index_without_segments_is_refused():
    none = runs(restart=True)
    with pytest.raises(InvalidDelta, match="or no blocks"):
        DeltaIndex(OLD, NEW, columns(), none, none, runs([], restart=True), map_of())


def test_numbers_that_overflow_are_refused():
    """Skips that add up to more than 64 bits would come back to the beginning."""
    index = sample()
    skips = np.full(len(index.runs.skips), 0xFFFFFFFF, np.uint32)
    with pytest.raises(InvalidDelta, match="disks do not have"):
        replace(index, runs=replace(index.runs, skips=skips))


def test_it_is_an_error_of_content():
    assert issubclass(InvalidDelta, ContentError)
