"""The cache: whole or not at all when a writer is killed or several write; and any content costs at most its use."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haulout.fetch import cache
from haulout.fetch.cache import CacheFolder, folder
from haulout.fetch.records import Records
from haulout.fetch.seeds import SeedNotes
from haulout.local import hold
from haulout.oci import Digest

if TYPE_CHECKING:
    from pathlib import Path

NAME = f"{'a' * 64}.json"
OTHER = f"{'b' * 64}.json"


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_it_is_put_in_place_and_replaced(tmp_path):
    place = CacheFolder(tmp_path, "new")
    for data in (b"first, and longer", b"second", b""):
        place.put(NAME, data)
        assert place.read(NAME, 100) == data
        assert names(tmp_path / "new") == [NAME]


def test_what_a_killed_writer_left_goes_at_once_and_what_another_writes_stays(tmp_path):
    left, under_way, strange = f".{NAME}.0a0a0a0a.new", f".{NAME}.0b0b0b0b.new", ".mine.0a0a0a0a.new"
    for name in (left, under_way, strange):
        (tmp_path / name).write_bytes(b"half of something")
    with (tmp_path / under_way).open("rb") as file:
        assert hold(file.fileno())
        CacheFolder.at(tmp_path).put(NAME, b"whole")
        assert names(tmp_path) == sorted([under_way, strange, NAME])
    CacheFolder.at(tmp_path).put(NAME, b"whole")
    assert names(tmp_path) == sorted([strange, NAME])


def test_a_writer_killed_with_kill_9_leaves_nothing_after_the_next(tmp_path):
    kill = "os.replace = lambda *_, **__: os.kill(os.getpid(), 9)"
    code = f"import os, pathlib; from haulout.fetch import cache; {kill}; cache.CacheFolder.at(pathlib.Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", f"{code}.put({NAME!r}, b'x')"], check=False)
    assert done.returncode == -9
    assert [name.endswith(".new") for name in names(tmp_path)] == [True]
    CacheFolder.at(tmp_path).put(OTHER, b"whole")
    assert names(tmp_path) == [OTHER]


def test_where_the_file_system_has_no_locks_age_decides(tmp_path, monkeypatch):
    def none(_fd):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("haulout.fetch.cache.hold", none)
    old, fresh = f".{NAME}.0a0a0a0a.new", f".{NAME}.0b0b0b0b.new"
    for name, age in [(old, 7200), (fresh, 0)]:
        (tmp_path / name).write_bytes(b"half of something")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    CacheFolder.at(tmp_path).put(NAME, b"whole")
    assert names(tmp_path) == sorted([fresh, NAME])


def test_what_was_taken_for_abandoned_before_its_lock_is_begun_again(tmp_path, monkeypatch):
    def swept_once(fd):
        if not swept:
            swept.append(next(tmp_path.glob(".*.new")))
            swept[0].unlink()
        return hold(fd)

    swept: list[Path] = []
    monkeypatch.setattr("haulout.fetch.cache.hold", swept_once)
    CacheFolder.at(tmp_path).put(NAME, b"whole")
    assert swept
    assert CacheFolder.at(tmp_path).read(NAME, 100) == b"whole"


def test_a_link_in_the_way_is_replaced_not_written_through(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / NAME).symlink_to(tmp_path / "precious")
    place = CacheFolder.at(tmp_path)
    assert place.read(NAME, 100) is None
    place.put(NAME, b"x")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert place.read(NAME, 100) == b"x"


def test_where_nothing_can_be_written_it_is_an_os_error(monkeypatch):
    monkeypatch.setattr("haulout.fetch.cache.user_cache_path", _no_home)
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        folder("seeds").put(NAME, b"x")
    assert folder("seeds").files(".json") == []


def _no_home(_name):
    raise RuntimeError("could not determine home directory")


@pytest.mark.parametrize("note", [{}, {"path": "a\udcff", "size": 5, "toc": None}])
def test_a_note_comes_back_as_it_was(tmp_path, note):
    CacheFolder.at(tmp_path).put_note(NAME, note)
    assert CacheFolder.at(tmp_path).note(NAME) == note


def test_a_folder_that_is_a_link_is_not_used_and_what_it_points_to_stays(tmp_path):
    """As in A4: housekeeping must not delete in a folder that is not the cache's."""
    precious = tmp_path / "precious"
    precious.mkdir()
    for name in (NAME, f"{'c' * 64}.toc", "settings.json", f".{NAME}.0a0a0a0a.new"):
        (precious / name).write_text("{}")
        os.utime(precious / name, (1, 1))
    for link in ("haulout", "haulout/seeds"):
        base = tmp_path / f"cache-{len(link)}"
        (base / link).parent.mkdir(parents=True, exist_ok=True)
        (base / link).symlink_to(precious)
        place = CacheFolder(base, "haulout", "seeds")
        with pytest.raises(OSError, match=r"symbolic|Not a directory"):
            place.put(OTHER, b"{}")
        assert place.files(".json") == []
        assert place.read(NAME, 100) is None
        place.remove(NAME)
    assert len(names(precious)) == 4


def test_only_names_of_our_own_form_are_touched(tmp_path):
    strange = ["settings.json", "x.toc", f"{'A' * 64}.json", f"{'a' * 63}.json", f"{'a' * 64}.json.bak"]
    for name in strange:
        (tmp_path / name).write_text("{}")
    place = CacheFolder.at(tmp_path)
    assert place.files(".json") == place.files(".toc") == []
    for name in [*strange, "../x", "/etc/passwd"]:
        assert place.read(name, 100) is None
        place.remove(name)
    (tmp_path / "disk").write_bytes(b"x")
    SeedNotes(tmp_path).remember(tmp_path / "disk", "name", None)
    assert set(strange) < set(names(tmp_path))


def test_of_another_user_nothing_is_used(tmp_path, monkeypatch):
    place = CacheFolder(tmp_path, "seeds")
    place.put(NAME, b"{}")
    monkeypatch.setattr("haulout.fetch.cache.os.geteuid", lambda: os.getuid() + 1)
    assert place.files(".json") == []
    assert place.read(NAME, 100) is None
    with pytest.raises(PermissionError):
        place.put(NAME, b"x")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(30 << 30)


def device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        path.symlink_to("/dev/zero")


def writes(data: bytes):
    return lambda path: path.write_bytes(data)


DAMAGE = {
    "fifo": fifo,
    "sparse": sparse,
    "device": device,
    "folder": lambda path: (path / "below").mkdir(parents=True),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "unreadable": lambda path: (path.write_bytes(b"{}"), path.chmod(0)),
    "empty": writes(b""),
    "not JSON": writes(b"{"),
    "a list": writes(b"[]"),
    "null": writes(b"null"),
    "not UTF-8": writes(b"\xff"),
    "deep": writes(b'{"path":' + b"[" * 30_000),
    "deep and closed": writes(b'{"path":' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
    "huge number": writes(b'{"path":"/x","state":' + b"9" * 60_000 + b"}"),
    "NUL": writes(b'{"path":"/a\\u0000b","manifest":"x","form":"raw"}'),
    "surrogate": writes(b'{"path":"/\\ud800","name":"x"}'),
    "relative": writes(b'{"path":"x"}'),
    "long": writes(b'{"path":"/' + b"x" * 60_000 + b'"}'),
    "a number": writes(b'{"path":5,"toc":7,"state":{}}'),
    "a device": writes(b'{"path":"/dev/zero","toc":"' + b"d" * 64 + b'"}'),
    "kernel memory": writes(b'{"path":"/proc/kcore"}'),
    "large": writes(b'{"path":"/x","y":"' + b"z" * 100_000 + b'"}'),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.dictionaries(
        st.sampled_from([NAME, OTHER, f"{'d' * 64}.toc", "other.json", f".{NAME}.0a0a0a0a.new", "record"]),
        st.one_of(st.sampled_from(sorted(DAMAGE)), st.binary(max_size=300)),
        max_size=6,
    ),
    folders=st.sampled_from(["folder", "link", "file", "fifo", "none"]),
)
def test_any_content_costs_at_most_its_use(tmp_path_factory, content, folders):
    base = tmp_path_factory.mktemp("cache")
    target = base / "target.raw"
    target.write_bytes(b"disk")
    manifest = Digest.of(b"manifest")
    record = f"{Digest.of(os.fsencode(target)).hex}.json"
    for name in ("seeds", "pulls"):
        place = base / name
        if folders == "folder":
            place.mkdir()
            for file, what in content.items():
                path = place / (record if file == "record" else file)
                path.write_bytes(what) if isinstance(what, bytes) else DAMAGE[what](path)
        elif folders == "link":
            (base / "elsewhere").mkdir(exist_ok=True)
            place.symlink_to(base / "elsewhere")
        elif folders == "file":
            place.write_bytes(b"x")
        elif folders == "fifo":
            os.mkfifo(place)
    notes, records = SeedNotes(base / "seeds"), Records(base / "pulls")
    for path, toc in notes.recall("name"):
        assert path.is_absolute()
        assert toc is None
    notes.remember(target, "name", None)
    assert not records.holds(target, Digest.of(b"another"), "raw")
    with target.open("rb") as file:
        records.remember(target, manifest, "raw", file.fileno())
    usable = folders in {"folder", "none"}
    blocked = content.get("record") == "folder" and folders == "folder"
    assert records.holds(target, manifest, "raw") is (usable and not blocked)
    assert (target in [path for path, _ in notes.recall("name")]) is (usable and not blocked)


@pytest.mark.parametrize("what", sorted(DAMAGE))
def test_each_damage_alone(tmp_path, what):
    (tmp_path / "seeds").mkdir()
    DAMAGE[what](tmp_path / "seeds" / NAME)
    assert [toc for _, toc in SeedNotes(tmp_path / "seeds").recall("name") if toc is not None] == []
    assert CacheFolder.at(tmp_path / "seeds").read(NAME, cache.MOST_NOTE) is None or what not in {"fifo", "sparse"}


def test_many_writers_never_leave_a_mixture(tmp_path):
    place = CacheFolder.at(tmp_path)
    mixed: list[bytes] = []

    def write(letter: bytes) -> None:
        for _ in range(100):
            place.put(NAME, letter * 50_000)
            data = place.read(NAME, 50_000)
            if data is None or len(set(data)) != 1 or len(data) != 50_000:
                mixed.append((data or b"")[:10])

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert mixed == []
    assert names(tmp_path) == [NAME]
