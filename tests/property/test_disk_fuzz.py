"""Whatever the bytes, inspection answers: with a value or an error of ours, and soon."""

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.disk_corpus import GOOD, HOSTILE

from haulout.disk import DiskInfo, inspect
from haulout.disk.formats.vhdx import crc32c
from haulout.disk.sparse import BLOCK, data_extents, is_zero
from haulout.errors import HauloutError

SEEDS = {name: build() for name, (*_, build) in GOOD.items()} | {name: build() for name, (_, build) in HOSTILE.items()}
MAGICS = [data[:600] for data in SEEDS.values() if len(data) < 1 << 20]
HEADERS = [0, 4, 8, 16, 20, 24, 32, 36, 40, 48, 56, 60, 64, 72, 96, 100, 104, 512, 1024, 32768, 65536, 0x30000, 0x40000]
SECONDS = 3.0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "disk"


def judge(place, data, size=None):
    with place.open("wb") as stream:
        stream.write(data)
        if size is not None:
            stream.truncate(size)
    begin = time.monotonic()
    try:
        info = inspect(place)
    except HauloutError:
        pytest.fail("content may only be dangerous, not an error")
    assert time.monotonic() - begin < SECONDS
    assert isinstance(info, DiskInfo)
    for danger in info.dangers:
        assert danger.reason.isprintable()
        assert len(danger.reason) < 250


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=5000), head=st.sampled_from([b"", *MAGICS]))
def test_random_bytes_behind_a_magic(place, data, head):
    judge(place, head[: len(head) // 2] + data)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(sorted(SEEDS)),
    flips=st.lists(
        st.tuples(st.sampled_from(HEADERS), st.integers(0, 127), st.binary(min_size=1, max_size=8)),
        min_size=1,
        max_size=6,
    ),
    cut=st.none() | st.integers(0, 300_000),
)
def test_real_headers_with_fields_overwritten(place, seed, flips, cut):
    data = bytearray(SEEDS[seed])
    for base, offset, value in flips:
        if base + offset + len(value) <= len(data):
            data[base + offset : base + offset + len(value)] = value
    judge(place, bytes(data[:cut]))


@settings(max_examples=100, deadline=None)
@given(seed=st.sampled_from(sorted(SEEDS)), size=st.integers(0, 1 << 43))
def test_headers_in_sparse_files_of_any_size(place, seed, size):
    judge(place, SEEDS[seed], size)


@settings(max_examples=50, deadline=None)
@given(blocks=st.lists(st.booleans(), max_size=40), tail=st.integers(0, BLOCK - 1))
def test_extents_tile_what_is_data(place, blocks, tail):
    with place.open("w+b") as stream:
        size = len(blocks) * BLOCK + tail
        stream.truncate(size)
        for number, filled in enumerate(blocks):
            if filled:
                os.pwrite(stream.fileno(), b"x" * BLOCK, number * BLOCK)
        extents = list(data_extents(stream.fileno(), size))
        position = 0
        for extent in extents:
            assert is_zero(os.pread(stream.fileno(), extent.offset - position, position))
            assert extent.length > 0
            position = extent.end
        assert position <= size
        assert is_zero(os.pread(stream.fileno(), size, position))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=70_000))
def test_is_zero_agrees_with_any(data):
    assert is_zero(data) is not any(data)
    assert is_zero(bytes(len(data)))


def test_crc32c_known_answers():
    """RFC 3720, appendix B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283
