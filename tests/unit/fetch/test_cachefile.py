"""Small files of the cache: whole or not at all, whoever is killed or writes at the same time."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress

import pytest

from haulout.fetch.cachefile import put


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_is_put_in_place_and_replaced(tmp_path):
    for data in (b"first, and longer", b"second", b""):
        put(tmp_path / "note", data)
        assert (tmp_path / "note").read_bytes() == data
        assert names(tmp_path) == ["note"]


def test_what_a_killed_writer_left_is_gone_on_with(tmp_path):
    (tmp_path / ".note.new").write_bytes(b"half of something longer")
    put(tmp_path / "note", b"whole")
    assert (tmp_path / "note").read_bytes() == b"whole"
    assert names(tmp_path) == ["note"]


def test_while_another_writes_the_later_gives_up(tmp_path):
    (tmp_path / "note").write_bytes(b"old")
    with (tmp_path / ".note.new").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            put(tmp_path / "note", b"later")
        assert (tmp_path / "note").read_bytes() == b"old"


def test_a_link_in_the_way_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / ".note.new").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        put(tmp_path / "note", b"x")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_what_was_just_put_in_place_is_not_written_into(tmp_path, monkeypatch):
    """Two opened one file; the first put it in place and let go before the second got the lock."""
    note = tmp_path / "note"
    real = fcntl.flock

    def late(fd: int, how: int) -> None:
        os.write(fd, b"of the first")
        (tmp_path / ".note.new").rename(note)
        (tmp_path / ".note.new").write_bytes(b"of a third")
        real(fd, how)

    monkeypatch.setattr("haulout.fetch.cachefile.fcntl.flock", late)
    with pytest.raises(BlockingIOError):
        put(note, b"of the second")
    assert note.read_bytes() == b"of the first"


def test_many_writers_never_leave_a_mixture(tmp_path):
    note = tmp_path / "note"
    mixed: list[bytes] = []

    def write(letter: bytes) -> None:
        for _ in range(100):
            with suppress(OSError):
                put(note, letter * 50_000)
            with suppress(FileNotFoundError):
                data = note.read_bytes()
                if len(data) != 50_000 or len(set(data)) != 1:
                    mixed.append(data[:10])

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert mixed == []
