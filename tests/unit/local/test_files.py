"""Open files: their names for messages."""

import fcntl
from pathlib import Path

from haulout.local.files import descriptor_name


def test_an_open_file_has_the_name_it_was_opened_by(tmp_path):
    (tmp_path / "file").touch()
    with (tmp_path / "file").open() as file:
        assert descriptor_name(file.fileno()) == str(tmp_path / "file")


def test_macos_is_asked_in_its_own_way(tmp_path, monkeypatch):
    asked = []

    def answer(fd, request, buffer):
        asked.append((fd, request))
        return b"/Users/me/disk.raw".ljust(len(buffer), b"\0")

    monkeypatch.setattr(fcntl, "F_GETPATH", 50, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", answer)
    assert descriptor_name(7) == "/Users/me/disk.raw"
    assert asked == [(7, 50)]


def test_where_nothing_knows_the_name_the_number_is_shown(monkeypatch):
    def refuse(_path):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "readlink", refuse)
    assert descriptor_name(7) == "file descriptor 7"
