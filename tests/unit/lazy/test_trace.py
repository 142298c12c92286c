"""Boot traces: written, read, joined, refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import ContentError
from haulout.frames import BLOCK
from haulout.lazy.trace import MOST_RANGES, USE, Recorder, Trace
from haulout.oci import Digest, SizedDigest

DISK = SizedDigest(Digest("a" * 64), 100 * BLOCK - 7)


def test_a_trace_is_read_as_it_was_written():
    trace = Trace(DISK, ((5, 2), (0, 1), (99, 1)))
    assert Trace.decode(trace.encode()) == trace
    assert trace.size == 4 * BLOCK


def test_ranges_that_follow_one_another_are_joined():
    uses = USE.pack(5, 2) + USE.pack(7, 1) + USE.pack(0, 1) + b"cut"
    assert Trace.of_uses(DISK, uses).ranges == ((5, 3), (0, 1))


@pytest.mark.parametrize("bad", [[(100, 1)], [(99, 2)], [(0, 0)], [(1 << 63, 1)], [(7, 3), (0, 1), (9, 1)]])
def test_blocks_outside_the_disk_and_blocks_named_twice_are_refused(bad):
    with pytest.raises(ContentError):
        Trace.decode(Trace(DISK, tuple(bad)).encode())


def test_more_ranges_than_any_recording_has_are_refused():
    disk = SizedDigest(DISK.digest, (MOST_RANGES + 1) * BLOCK)
    ranges = tuple((first, 1) for first in range(MOST_RANGES + 1))
    assert Trace.decode(Trace(disk, ranges[1:]).encode()).ranges == ranges[1:]
    with pytest.raises(ContentError):
        Trace.decode(Trace(disk, ranges).encode())


def test_a_block_that_was_noted_twice_is_in_a_trace_once():
    assert Trace.of_uses(DISK, USE.pack(5, 2) + USE.pack(5, 3)).ranges == ((5, 3),)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data):
    with pytest.raises(ContentError):
        Trace.decode(data)
    with pytest.raises(ContentError):
        Trace.decode(struct.pack("<8sII", b"haultrc1", BLOCK, 3) + data)


@given(st.lists(st.tuples(st.integers(0, 98), st.integers(1, 40)), max_size=30))
def test_each_block_is_noted_once_at_its_first_use(reads):
    recorder, noted = Recorder(DISK.size), []
    used: list[int] = []
    for first, count in reads:
        stop = min(first + count, 100)
        used += [block for block in range(first, stop) if block not in used]
        new = recorder.use(first * BLOCK + 3, (stop - first) * BLOCK - 3)
        noted += [block for one, many in USE.iter_unpack(new) for block in range(one, one + many)]
    assert noted == used
