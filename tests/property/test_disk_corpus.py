"""Disk images, good and hostile: what passes, and what is refused for the right reason."""

from __future__ import annotations

import pytest
from tests.support.disk_corpus import GOOD, HOSTILE

from haulout.disk import inspect, require_safe
from haulout.errors import UnsafeDiskError


@pytest.mark.parametrize("name", GOOD)
def test_good_files_pass(tmp_path, name):
    disk_format, size, build = GOOD[name]
    path = tmp_path / "disk"
    path.write_bytes(build())
    info = require_safe(path, disk_format)
    assert (info.format, info.virtual_size, info.dangers) == (disk_format, size, ())
    assert info.file_size == path.stat().st_size
    assert info.disk_type is disk_format.disk_type


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_for_the_right_reason(tmp_path, name):
    rule, build = HOSTILE[name]
    path = tmp_path / "disk"
    path.write_bytes(build())
    info = inspect(path)
    assert rule in {danger.rule for danger in info.dangers}, info.dangers
    assert not info.safe
    with pytest.raises(UnsafeDiskError) as caught:
        require_safe(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"refusing {path}: ")
    assert len(str(caught.value)) < 300


def test_the_corpus_is_large():
    assert len(HOSTILE) >= 120
