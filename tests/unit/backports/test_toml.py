"""Files are replaced whole, and errors say which file."""

from __future__ import annotations

import os
import stat

import pytest

from haulout.backports import toml
from haulout.errors import HauloutError, NotFoundError, StorageError
from haulout.local import read_toml


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode_and_link(tmp_path):
    real, link = tmp_path / "kept.toml", tmp_path / "backports.toml"
    real.write_text("old = 1\n")
    real.chmod(0o640)
    link.symlink_to(real)
    toml.store(link, "new = 1\n")
    assert link.is_symlink()
    assert real.read_text() == "new = 1\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backports.toml", "kept.toml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError):
        toml.store(tmp_path / "x.toml", "")


def test_what_is_no_file_says_so(tmp_path):
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(NotFoundError):
        read_toml(tmp_path / "absent.toml")
    with pytest.raises(HauloutError):
        read_toml(tmp_path / "d.toml")
    with pytest.raises(StorageError):
        toml.store(tmp_path / "d.toml", "")
