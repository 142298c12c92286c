"""Open files: their names for messages."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from haulout.errors import InvalidEvidence, NotFoundError, StorageError
from haulout.local import read_head, read_small
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


def test_the_head_of_a_file_or_pipe(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert (read_head(path, 3), read_head(path, 9)) == (b"123", b"12345")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"through",))
    writer.start()
    assert read_head(pipe, 100) == b"through"
    writer.join()
    with pytest.raises(NotFoundError, match="no such file"):
        read_head(tmp_path / "absent", 1)
    with pytest.raises(StorageError, match="it is a directory"):
        read_head(tmp_path, 1)


def test_a_file_that_is_too_large_is_the_error_that_the_caller_wants(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_small(path, 5) == b"12345"
    with pytest.raises(StorageError, match="larger than 4 bytes"):
        read_small(path, 4)
    with pytest.raises(InvalidEvidence, match=r"^it cannot be read: it is larger than 4 bytes, the most that is read$"):
        read_small(path, 4, too_large=lambda reason: InvalidEvidence("it", reason))
