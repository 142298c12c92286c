"""Files that share storage, and how they say that they cannot."""

import os
import sys

import pytest

from haulout.local.sharing import clone_range, snapshot


def test_a_snapshot_keeps_what_was_there(tmp_path):
    (tmp_path / "file").write_bytes(b"a" * 8192)
    with (tmp_path / "file").open("r+b", buffering=0) as file:
        fixed = snapshot(file.fileno(), tmp_path)
        if fixed is None:  # most file systems share nothing
            return
        file.write(b"b" * 8192)
        assert os.pread(fixed, 8192, 0) == b"a" * 8192
        os.close(fixed)


def test_other_systems_share_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    (tmp_path / "file").write_bytes(b"a" * 8192)
    with (tmp_path / "file").open("r+b") as file:
        assert snapshot(file.fileno(), tmp_path) is None
        with pytest.raises(OSError, match="not supported"):
            clone_range(file.fileno(), 0, 4096, file.fileno(), 4096)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
