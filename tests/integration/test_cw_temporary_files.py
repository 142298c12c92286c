"""What waits in unlinked temporary files: a place that is missing or too small is one clear error, at every byte."""

from __future__ import annotations

import os
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.workloads import PASSPHRASE, build, container_of, inspected, parts, root_folder, stored

from haulout.content.memory import MemoryStore
from haulout.errors import StorageError
from haulout.progress import NullProgress
from haulout.workload import krun, source

PAGE = 4096


@contextmanager
def no_file_larger_than(size):
    """As a disk that fills up: the kernel takes the first bytes of a write, and refuses the next."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def hold_a_layer():
    store = container_of(bytes(1024))
    with source.root_of_image(stored(store), "amd64", NullProgress(), hold=True):
        pass


@pytest.mark.parametrize("what", ["a layer", "the disk", "the hashes"])
def test_where_nothing_temporary_can_be_made_that_is_told(tmp_path, monkeypatch, what):
    root_folder(tmp_path / "root")
    acts = {
        "a layer": hold_a_layer,
        "the disk": lambda: inspected(parts(), PASSPHRASE),
        "the hashes": lambda: build(MemoryStore(), tmp_path / "root"),
    }
    parts()
    # Where no place takes a file, the standard library has no answer to where it would be either.
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", None)
    with no_file_larger_than(0), pytest.raises(StorageError, match=f"/nowhere: cannot hold {what}: ") as caught:
        acts[what]()
    assert "TMPDIR" in (caught.value.hint or "")


@pytest.mark.parametrize("missing", [1, PAGE, PAGE + 1])
def test_a_disk_whose_end_finds_no_room_is_told(missing):
    files = parts()
    with (
        no_file_larger_than(len(files[krun.DISK_NAME]) - missing),
        pytest.raises(StorageError, match="cannot hold the disk: the file is too large"),
    ):
        inspected(files, PASSPHRASE)


@pytest.mark.parametrize("missing", [1, PAGE - 1])
def test_hashes_whose_end_finds_no_room_are_told(tmp_path, missing):
    root_folder(tmp_path / "root")
    (tmp_path / "root/more").write_bytes(os.urandom(2 << 20))
    store = MemoryStore()
    with (
        no_file_larger_than(PAGE - missing),
        pytest.raises(StorageError, match="cannot hold the hashes: the file is too large"),
    ):
        build(store, tmp_path / "root")
    assert list(store.tags()) == []


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert inspected(parts(), PASSPHRASE).unlocked is not None
    hold_a_layer()
    assert (list(tmp_path.iterdir()), len(list(Path("/proc/self/fd").iterdir()))) == ([], before)
