"""Blobs on their way to a registry wait in an unlinked file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from haulout.errors import StorageError
from haulout.oci import Descriptor
from haulout.registry.ingest import spool


def _refuse(*_):
    raise AssertionError("nothing is to be pushed")


def test_what_was_written_can_be_read_again_and_again():
    seen = []

    def push(descriptor, source, task, mount_from):
        for _ in range(2):
            with source() as stream:
                seen.append(stream.read())
                stream.seek(3)
                seen.append(stream.read(2))
        assert (task, mount_from) == (None, "near")
        assert descriptor == Descriptor.of("a/b", b"0123456789")

    with spool(push) as blob:
        blob.write(b"01234")
        blob.write(bytearray(b"567"))
        blob.write(memoryview(b"89"))
        blob.commit("a/b", mount_from="near")
    assert seen == [b"0123456789", b"34"] * 2


def test_nothing_remains(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with spool(_refuse) as blob:
        blob.write(b"x" * 100_000)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_says_what_to_do(monkeypatch):
    full = Path("/dev/full")
    monkeypatch.setattr("haulout.local.scratch.nameless_file", lambda: full.open("wb", buffering=0))
    with (
        pytest.raises(StorageError, match="a blob on its way to the registry: the file system is full") as caught,
        spool(_refuse) as blob,
    ):
        blob.write(b"x")
    assert "TMPDIR" in (caught.value.hint or "")


def test_a_missing_directory_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StorageError, match="gone"), spool(_refuse):
        pass
