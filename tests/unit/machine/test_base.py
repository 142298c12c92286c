"""A base image that was changed is told, and not booted."""

from __future__ import annotations

import os

import pytest

from haulout.errors import StorageError
from haulout.machine.base import check_base, note_of

PINNED = "registry.example.com/machines@sha256:" + 64 * "a"


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "sha256-aa"
    path.write_bytes(b"system")
    check_base(path, PINNED)
    return path


def test_what_stays_as_it_was_is_not_read_again(base):
    before = base.stat()
    # Of the same size, time and inode: only reading would tell.
    base.write_bytes(b"SYSTEM")
    os.utime(base, ns=(before.st_atime_ns, before.st_mtime_ns))
    check_base(base, PINNED)


@pytest.mark.parametrize("content", [b"SYSTEM", b"sys", b"", b"systems"])
def test_a_changed_one_is_told_again_and_again(base, content):
    os.utime(base, ns=(1, 1))
    base.write_bytes(content)
    for _ in range(2):
        with pytest.raises(StorageError, match="was changed since it was verified") as caught:
            check_base(base, PINNED)
    assert f"haulout pull {PINNED} -o {base}" in str(caught.value.hint)


def test_one_that_was_fetched_again_is_good(base):
    base.unlink()
    with pytest.raises(StorageError, match="is gone"):
        check_base(base, PINNED)
    base.write_bytes(b"system")
    os.utime(base, ns=(1, 1))
    for _ in range(2):
        check_base(base, PINNED)


def test_a_damaged_note_costs_a_reading(base):
    for damage in (b"", b"[]", b"null", b"{"):
        note_of(base).write_bytes(damage)
        check_base(base, PINNED)
        assert b"sha256" in note_of(base).read_bytes()
