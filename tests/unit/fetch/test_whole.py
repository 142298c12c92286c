"""Blobs without a table of contents: resumed without trusting what was kept, and written sparsely, not without end."""

from __future__ import annotations

import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haulout.content.memory import MemoryStore
from haulout.disk import SparseWriter
from haulout.errors import ContentError
from haulout.fetch.target import open_partial
from haulout.fetch.whole import fetch_whole
from haulout.progress import NullProgress

MIB = 1 << 20
DISK = os.urandom(300_000) + bytes(200_000) + b"end"
FOUND = SimpleNamespace(container_disk=False, disk=None)


@pytest.mark.parametrize("kept", [0, 100_000, 450_000, len(DISK), len(DISK) + 1, len(DISK) + 5000])
def test_an_uncompressed_blob_is_exactly_its_bytes_however_much_was_kept(tmp_path, kept):
    store = MemoryStore()
    with store.ingest() as sink:
        sink.write(DISK)
        layer = sink.commit("application/octet-stream")
    target = tmp_path / "out"
    with open_partial(target, layer.digest, "plain") as plain, open_partial(target, layer.digest, "blob") as spool:
        os.pwrite(spool.fd, (DISK + os.urandom(5000))[:kept], 0)
        moved, made = fetch_whole(store, FOUND, layer, plain, spool, NullProgress())  # type: ignore[arg-type]
        made.publish()
    assert target.read_bytes() == DISK
    assert moved.reused == min(kept, len(DISK))
    assert 0 < moved.zero <= 200_003


@contextmanager
def empty(path):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        yield fd
    finally:
        os.close(fd)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.integers(0, 300_000).map(bytes),
            st.builds(lambda n: b"\x07" * n, st.integers(0, 100_000)),
        ),
        max_size=8,
    )
)
def test_a_sparse_writer_writes_what_it_is_given(tmp_path_factory, pieces):
    whole = b"".join(pieces)
    path = tmp_path_factory.mktemp("w") / "out"
    with empty(path) as fd:
        writer = SparseWriter(fd, len(whole))
        for piece in pieces:
            writer.write(piece)
        os.ftruncate(fd, writer.size)
    assert path.read_bytes() == whole
    assert writer.size == len(whole)
    assert writer.stored >= len(whole) - whole.count(0)
    assert writer.stored <= len(whole)


def test_a_sparse_writer_leaves_holes(tmp_path):
    with empty(tmp_path / "out") as fd:
        writer = SparseWriter(fd, 1)
        for _ in range(16):
            writer.write(bytes(MIB))
        assert (writer.stored, writer.size) == (0, 16 * MIB)
        os.ftruncate(fd, writer.size)
        assert os.fstat(fd).st_blocks * 512 < MIB


def test_a_bomb_of_content_stops_at_what_its_size_allows(tmp_path):
    with empty(tmp_path / "out") as fd:
        writer = SparseWriter(fd, 1000)
        allowed = 1000 * 2000 + 64 * MIB
        for _ in range(allowed // MIB):
            writer.write(b"\x01" * MIB)
        with pytest.raises(ContentError, match="decompression bomb"):
            writer.write(b"\x01" * MIB)


def test_a_bomb_of_zeros_stops_at_the_largest_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("haulout.disk.writing._MAX_PLAIN", 8 * MIB)
    with empty(tmp_path / "out") as fd:
        writer = SparseWriter(fd, 1 << 30)
        for _ in range(8):
            writer.write(bytes(MIB))
        with pytest.raises(ContentError, match="decompression bomb"):
            writer.write(b"\0")
