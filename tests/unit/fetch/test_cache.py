"""Small files of the cache: whole or not at all, when a writer is killed or several write at the same time."""

from __future__ import annotations

import os
import threading
import time

import pytest

from haulout.fetch.cache import folder, put, put_note, read_note


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_it_is_put_in_place_and_replaced(tmp_path):
    for data in (b"first, and longer", b"second", b""):
        put(tmp_path / "new" / "note", data)
        assert (tmp_path / "new" / "note").read_bytes() == data
        assert names(tmp_path / "new") == ["note"]


def test_what_a_killed_writer_left_is_removed_in_time_and_what_another_writes_is_not(tmp_path):
    for name, age in [(".note.0a0a0a0a.new", 7200), (".note.0b0b0b0b.new", 0), (".other.0a0a0a0a.new", 7200)]:
        (tmp_path / name).write_bytes(b"half of something")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    put(tmp_path / "note", b"whole")
    assert names(tmp_path) == [".note.0b0b0b0b.new", ".other.0a0a0a0a.new", "note"]


def test_a_link_in_the_way_is_replaced_not_written_through(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "note").symlink_to(tmp_path / "precious")
    put(tmp_path / "note", b"x")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / "note").read_bytes() == b"x"


def test_where_nothing_can_be_written_it_is_an_os_error(monkeypatch):
    monkeypatch.setattr("haulout.fetch.cache.user_cache_path", _no_home)
    with pytest.raises(OSError, match="Not a directory"):
        put(folder("seeds") / "note", b"x")


def _no_home(_name):
    raise RuntimeError("could not determine home directory")


@pytest.mark.parametrize("note", [{}, {"path": "a\udcff", "size": 5, "toc": None}])
def test_a_note_comes_back_as_it_was(tmp_path, note):
    put_note(tmp_path / "note", note)
    assert read_note(tmp_path / "note") == note


@pytest.mark.parametrize("spoiled", [b"", b"{", b"[]", b"\xff", b"null"])
def test_a_spoiled_note_is_none(tmp_path, spoiled):
    (tmp_path / "note").write_bytes(spoiled)
    assert read_note(tmp_path / "note") is None
    assert read_note(tmp_path / "missing") is None


def test_many_writers_never_leave_a_mixture(tmp_path):
    note = tmp_path / "note"
    mixed: list[bytes] = []

    def write(letter: bytes) -> None:
        for _ in range(100):
            put(note, letter * 50_000)
            data = note.read_bytes()
            if len(data) != 50_000 or len(set(data)) != 1:
                mixed.append(data[:10])

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert mixed == []
    assert names(tmp_path) == ["note"]
