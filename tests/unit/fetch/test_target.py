"""The file a pull makes: locked while it grows, renamed when it is right, and never in the place of something else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.disks import leftovers
from tests.support.mounts import mounted
from tests.support.servers import needs

from haulout.errors import ConflictError, StorageError
from haulout.fetch import target as module
from haulout.fetch.target import check_target, look_at_partial, open_partial, sweep
from haulout.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

A, B = Digest("a" * 64), Digest("b" * 64)
SOURCE = Path(__file__).parents[3] / "src"

_HOLDER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from haulout.oci import Digest
from haulout.fetch.target import open_partial
with open_partial(Path(sys.argv[2]), Digest(sys.argv[3] * 64)) as partial:
    os.pwrite(partial.fd, b"half of it", 0)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(target: Path, digest: str):
    """Another process that is pulling."""
    argv = [sys.executable, "-c", _HOLDER, str(SOURCE), str(target), digest]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


@contextmanager
def mask(value: int):
    old = os.umask(value)
    try:
        yield
    finally:
        os.umask(old)


def partial_of(target: Path, digest: Digest, part: str = "disk") -> Path:
    return target.parent / f".{target.name}.{digest.short}.{part}.partial"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_result_appears_whole_and_with_the_usual_mode(tmp_path, umask, mode):
    target = tmp_path / "disk"
    with mask(umask), open_partial(target, A) as partial:
        assert stat.S_IMODE(os.fstat(partial.fd).st_mode) == 0o600
        os.pwrite(partial.fd, b"new content", 0)
        assert not target.exists()
        partial.publish()
    assert target.read_bytes() == b"new content"
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert leftovers(tmp_path) == []


def test_what_was_written_before_an_interruption_is_there_the_next_time(tmp_path):
    target = tmp_path / "disk"
    with suppress(KeyboardInterrupt), open_partial(target, A) as partial:
        os.pwrite(partial.fd, b"half", 0)
        raise KeyboardInterrupt
    with open_partial(target, A) as partial:
        assert os.pread(partial.fd, 100, 0) == b"half"
    with suppress(KeyboardInterrupt), open_partial(target, B) as partial:
        assert os.pread(partial.fd, 100, 0) == b"", "another disk begins anew"
        raise KeyboardInterrupt
    assert leftovers(tmp_path) == [partial_of(target, A).name], "what holds nothing is not kept"


def test_growing_makes_a_hole_and_shrinking_cuts(tmp_path):
    with open_partial(tmp_path / "disk", A) as partial:
        partial.resize(1 << 30)
        found = os.fstat(partial.fd)
        assert (found.st_size, found.st_blocks) == (1 << 30, 0)
        partial.resize(5)
        assert os.fstat(partial.fd).st_size == 5
        partial.discard()
        partial.discard()
    assert leftovers(tmp_path) == []


def test_a_size_no_file_system_has_is_one_line(tmp_path):
    with pytest.raises(StorageError) as caught, open_partial(tmp_path / "disk", A) as partial:
        partial.resize(1 << 62)
    assert caught.value.hint
    assert leftovers(tmp_path) == []


def test_two_processes_do_not_pull_the_same_to_the_same_place(tmp_path):
    target = tmp_path / "disk"
    with holder(target, "a"):
        with pytest.raises(ConflictError, match="another pull is writing to"), open_partial(target, A):
            pass
        with open_partial(target, B), open_partial(target, A, "blob"), open_partial(tmp_path / "other", A):
            pass
    # It was killed: its lock is gone, what it wrote is not.
    with open_partial(target, A) as partial:
        assert os.pread(partial.fd, 100, 0) == b"half of it"


def test_sweeping_spares_what_is_used_and_what_is_not_ours(tmp_path):
    target = tmp_path / "disk"
    strangers = [
        ".disk.partial",
        ".disk.aaaaaaaaaaaa.partial",
        ".disk.AAAAAAAAAAAA.disk.partial",
        ".disk2.aaaaaaaaaaaa.disk.partial",
        ".xdisk.aaaaaaaaaaaa.disk.partial",
        "disk.aaaaaaaaaaaa.disk.partial",
        ".disk.aaaaaaaaaaaa.disk.partial.bak",
    ]
    for name in strangers:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / ".disk.cccccccccccc.disk.partial").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / ".disk.dddddddddddd.disk.partial")
    abandoned = partial_of(target, Digest("e" * 64), "plain")
    abandoned.write_bytes(b"x")
    with holder(target, "a"):
        sweep(target)
        assert partial_of(target, A).read_bytes() == b"half of it"
    assert not abandoned.exists()
    assert (tmp_path / "real").exists()
    assert {path.name for path in tmp_path.iterdir()} >= set(strangers)
    sweep(target)
    assert not partial_of(target, A).exists()


def _link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


def _dangling(path: Path) -> None:
    path.symlink_to("/nonexistent/x")


KINDS: dict[str, Callable[[Path], object]] = {
    "link": _link,
    "dangling link": _dangling,
    "folder": Path.mkdir,
    "fifo": os.mkfifo,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_the_way_of_a_target_stays(tmp_path, kind):
    target = tmp_path / "disk"
    KINDS[kind](target)
    before = target.lstat()
    with pytest.raises(StorageError, match=r"symbolic link|not a regular file") as caught, open_partial(target, A):
        pass
    assert caught.value.hint
    assert target.lstat().st_ino == before.st_ino
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("kind", [*KINDS, "hard link"])
def test_what_is_in_the_way_of_a_partial_is_not_touched(tmp_path, kind):
    target = tmp_path / "disk"
    (tmp_path / "elsewhere").write_bytes(b"precious")
    trap = partial_of(target, A)
    if kind == "hard link":
        trap.hardlink_to(tmp_path / "elsewhere")
    else:
        KINDS[kind](trap)
    with pytest.raises(StorageError), open_partial(target, A):
        pass
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    assert trap.lstat()


@pytest.mark.parametrize("place", ["missing/disk", "file/disk", "x" * 300])
def test_a_place_that_cannot_be_is_one_line(tmp_path, place):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError) as caught, open_partial(tmp_path / place, A):
        pass
    assert "\n" not in str(caught.value)


def test_a_name_that_is_too_long_for_its_partial_only_is_one_line(tmp_path):
    target = tmp_path / ("x" * 250)
    check_target(target)
    with pytest.raises(StorageError) as caught, open_partial(target, A):
        pass
    assert caught.value.hint == "choose a shorter name with --output"


def test_a_partial_that_is_published_just_before_it_is_locked_is_not_gone_on_with(tmp_path, monkeypatch):
    """Two open one partial; the first publishes it and is gone before the second asks for the lock."""
    target = tmp_path / "disk"
    partial_of(target, A).write_bytes(b"right")
    real = module._lock

    def late(fd: int, path: Path, wanted: Path) -> None:
        if not target.exists():
            path.rename(target)
        real(fd, path, wanted)

    monkeypatch.setattr(module, "_lock", late)
    with open_partial(target, A) as partial:
        assert os.pread(partial.fd, 10, 0) == b""
        os.pwrite(partial.fd, b"wrong", 0)
    assert target.read_bytes() == b"right"


@pytest.fixture
def drop_box():
    """A folder that may be written and entered, but not read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o733)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        else:
            folder.chmod(0o300)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o700)


def test_a_folder_that_may_not_be_read_gets_its_result_without_an_error(drop_box):
    target = drop_box / "disk"
    with open_partial(target, A) as partial:
        os.pwrite(partial.fd, b"content", 0)
        partial.publish()
    assert target.read_bytes() == b"content"
    sweep(target)


def test_what_another_process_began_after_the_result_appeared_is_not_discarded(tmp_path):
    target = tmp_path / "disk"
    with open_partial(target, A) as first:
        os.pwrite(first.fd, b"first", 0)
        first.publish()
        with open_partial(target, A) as second:
            os.pwrite(second.fd, b"second", 0)
            first.discard()
            assert second.path.exists()
            second.discard()
    assert target.read_bytes() == b"first"
    assert leftovers(tmp_path) == []


_GIVEN_AWAY = """
import ctypes, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from haulout.oci import Digest
from haulout.fetch.target import open_partial
ctypes.CDLL(None).setfsuid(12345)
for _ in range(2):
    with open_partial(Path(sys.argv[2]), Digest("a" * 64)) as partial:
        print(os.geteuid(), os.fstat(partial.fd).st_uid)
        os.pwrite(partial.fd, b"half of it", 0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that belong to somebody else")
def test_where_our_files_belong_to_somebody_else_a_pull_can_be_taken_up():
    """As on FAT, or for root over NFS: what is made here has an owner that we are not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o777)
        argv = [sys.executable, "-c", _GIVEN_AWAY, str(SOURCE), f"{name}/disk.raw"]
        # A process that can write nowhere else cannot keep what coverage measured.
        env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert (done.stdout, done.stderr) == ("0 12345\n0 12345\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_partial_that_somebody_else_made_is_refused(tmp_path):
    with open_partial(tmp_path / "disk.raw", A) as partial:
        os.pwrite(partial.fd, b"half of it", 0)
        os.chown(partial.path, 12345, 12345)
    with pytest.raises(StorageError, match="not made by a pull"), open_partial(tmp_path / "disk.raw", A):
        pass


@needs("mount")
def test_looking_at_a_partial_needs_no_folder_that_can_be_written(tmp_path):
    with mounted(tmp_path, "tmpfs", "size=1m") as place:
        with open_partial(place / "disk.raw", A) as partial:
            os.pwrite(partial.fd, b"half of it", 0)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        with look_at_partial(place / "disk.raw", A) as seen, look_at_partial(place / "disk.raw", B) as other:
            assert os.pread(seen.fd, 100, 0) == b"half of it"
            assert os.fstat(other.fd).st_size == 0


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o4755])
def test_what_is_replaced_hands_on_its_mode(tmp_path, mode):
    target = tmp_path / "out"
    target.write_bytes(b"old")
    target.chmod(mode)
    with open_partial(target, A) as partial:
        os.write(partial.fd, b"new")
        partial.publish()
    # A disk is not a program: the bits that lend rights stay behind.
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"new", mode & 0o777)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_is_replaced_hands_on_its_owner(tmp_path):
    target = tmp_path / "out"
    target.write_bytes(b"old")
    target.chmod(0o600)
    os.chown(target, 107, 109)
    with open_partial(target, A) as partial:
        partial.publish()
    found = target.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (107, 109, 0o600)
