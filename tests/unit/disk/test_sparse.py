"""Holes: found, made and kept."""

import errno
import itertools
import os
import random

import pytest

from haulout.disk import sparse
from haulout.disk.sparse import BLOCK, Extent, data_extents, is_zero, punch_hole
from haulout.errors import StorageError

MIB = 1 << 20


@pytest.fixture
def holey(tmp_path):
    """Data at 0, at 1 MiB (of odd place and length) and at the very end, which is not aligned."""
    path = tmp_path / "holey"
    with path.open("w+b") as stream:
        stream.write(b"a" * 10)
        stream.seek(MIB + 100)
        stream.write(b"b" * 5000)
        stream.truncate(3 * MIB + 77)
        stream.seek(3 * MIB + 70)
        stream.write(b"c" * 7)
        stream.flush()
        if os.fstat(stream.fileno()).st_blocks * 512 > MIB:
            pytest.skip("this file system makes no holes")
        yield stream


def test_extents_are_aligned_ordered_apart_and_hold_all_data(holey):
    size = 3 * MIB + 77
    extents = list(data_extents(holey.fileno(), size))
    assert len(extents) == 3
    assert all(extent.offset % BLOCK == 0 for extent in extents)
    assert all(extent.end % BLOCK == 0 or extent.end == size for extent in extents)
    assert all(before.end < after.offset for before, after in itertools.pairwise(extents))
    data = os.pread(holey.fileno(), size, 0)
    kept = bytearray(size)
    for extent in extents:
        kept[extent.offset : extent.end] = data[extent.offset : extent.end]
    assert bytes(kept) == data


def test_extents_end_where_asked(holey):
    assert list(data_extents(holey.fileno(), MIB + 200))[-1].end == MIB + 200
    assert list(data_extents(holey.fileno(), 0)) == []
    assert list(data_extents(holey.fileno(), 5)) == [Extent(0, 5)]


def test_a_file_of_holes_has_no_extents(tmp_path):
    with (tmp_path / "empty").open("w+b") as stream:
        stream.truncate(MIB)
        assert list(data_extents(stream.fileno(), MIB)) == []


def test_without_seek_data_all_is_data(holey, monkeypatch):
    def refuse(descriptor, offset, whence):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "lseek", refuse)
    assert list(data_extents(holey.fileno(), 9000)) == [Extent(0, 9000)]


def test_searching_a_closed_file_is_our_error(tmp_path):
    with (tmp_path / "file").open("w+b") as stream:
        descriptor = os.dup(stream.fileno())
    os.close(descriptor)
    with pytest.raises(StorageError):
        list(data_extents(descriptor, 10))


def test_holes_are_punched(tmp_path):
    with (tmp_path / "full").open("w+b") as stream:
        stream.write(b"x" * MIB)
        stream.flush()
        os.fsync(stream.fileno())
        before = os.fstat(stream.fileno()).st_blocks
        punch_hole(stream.fileno(), 8192, 512 * 1024)
        punch_hole(stream.fileno(), MIB - 10, 4096)
        punch_hole(stream.fileno(), 0, 0)
        assert os.fstat(stream.fileno()).st_size == MIB
        assert os.fstat(stream.fileno()).st_blocks < before
        data = os.pread(stream.fileno(), MIB, 0)
    assert data[:8192] == b"x" * 8192
    assert not any(data[8192 : 8192 + 512 * 1024])
    assert data[8192 + 512 * 1024 : MIB - 10] == b"x" * (MIB - 10 - 8192 - 512 * 1024)
    assert data[MIB - 10 :] == bytes(10)


def test_where_holes_cannot_be_punched_zeros_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(sparse, "_fallocate", lambda: lambda *_arguments: errno.EOPNOTSUPP)
    with (tmp_path / "full").open("w+b") as stream:
        stream.write(b"x" * MIB)
        stream.flush()
        punch_hole(stream.fileno(), 100, 300_000)
        punch_hole(stream.fileno(), MIB - 10, 4096)
        data = os.pread(stream.fileno(), 2 * MIB, 0)
    assert data == b"x" * 100 + bytes(300_000) + b"x" * (MIB - 10 - 300_100) + bytes(10)


def test_a_hole_in_a_file_opened_for_reading_is_our_error(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 10)
    with (tmp_path / "file").open("rb") as stream, pytest.raises(StorageError):
        punch_hole(stream.fileno(), 0, 5)


@pytest.mark.parametrize("size", [0, 1, 2, 4096, 65535, 65536, 65537, 300_001])
def test_zeros_are_told_from_all_else(size):
    chooser = random.Random(size)
    assert is_zero(bytes(size))
    assert is_zero(memoryview(bytearray(size)))
    for place in {0, size // 2, size - 1, *(chooser.randrange(size) for _ in range(20 if size else 0))}:
        if 0 <= place < size:
            data = bytearray(size)
            data[place] = 1
            assert not is_zero(data)
            assert not is_zero(memoryview(data))
