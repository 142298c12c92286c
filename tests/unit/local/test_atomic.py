"""Files that appear whole and replace nothing."""

from __future__ import annotations

import stat

import pytest

from haulout.local import appearing
from haulout.local import atomic as module


@pytest.fixture(params=["nameless", "named"])
def way(request, monkeypatch):
    """With files that have no name, and where there are none, as on macOS."""
    if request.param == "named":
        monkeypatch.setattr(module, "_nameless", lambda folder: None)


@pytest.mark.usefixtures("way")
def test_it_appears_whole_private_and_only_when_asked(tmp_path):
    target = tmp_path / "key"
    with appearing(target, b"x" * 100_000) as place:
        assert not target.exists()
        place()
        assert target.read_bytes() == b"x" * 100_000
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.usefixtures("way")
def test_what_is_there_is_not_replaced(tmp_path):
    target = tmp_path / "key"
    with appearing(target, b"new") as place:
        target.write_bytes(b"old")
        with pytest.raises(FileExistsError):
            place()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.usefixtures("way")
def test_nothing_is_left_where_it_is_not_asked_for(tmp_path):
    with pytest.raises(ZeroDivisionError), appearing(tmp_path / "key", b"new"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError), appearing(tmp_path / "nowhere/key", b"new"):
        pass
