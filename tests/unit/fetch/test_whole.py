"""Blobs without a table of contents, gone on with: what lies in the spool is not trusted, behind its end neither."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from haulout.content.memory import MemoryStore
from haulout.fetch.target import open_partial
from haulout.fetch.whole import fetch_whole
from haulout.progress import NullProgress

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
