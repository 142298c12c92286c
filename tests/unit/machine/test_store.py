"""Folders, locks and histories of machines."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.machine.test_model import MACHINE

from haulout.errors import ConflictError, InvalidFile, NotFoundError, StorageError, UsageError
from haulout.local import Peer
from haulout.machine import Machines, State, make_key
from haulout.machine.files import appearing_machine, clear, clone_files, disks, remove, remove_unused_bases
from haulout.usecases.machine_query import status_of


@pytest.fixture
def machines(tmp_path):
    return Machines(tmp_path / "data", tmp_path / "run", tmp_path / "cache")


@pytest.fixture
def place(machines):
    place = machines.place("web")
    place.folder.mkdir(parents=True)
    place.save(MACHINE)
    return place


def test_what_is_saved_is_loaded(place, machines):
    assert place.load() == MACHINE
    assert [each.name for each in machines.all()] == ["web"]
    assert place.file("machine.json").stat().st_mode & 0o777 == 0o600


def test_a_machine_that_is_not_there(machines):
    with pytest.raises(NotFoundError, match="no machine web"):
        machines.place("web").load()
    with pytest.raises(UsageError):
        machines.place("../etc")


@pytest.mark.parametrize("text", ["", "{", '{"schema": 99}'])
def test_a_broken_file_breaks_that_machine_and_no_other(machines, place, text):
    other = machines.place("other")
    other.folder.mkdir()
    other.save(replace(MACHINE, name="other"))
    place.file("machine.json").write_text(text)
    with pytest.raises(InvalidFile):
        place.load()
    found = {each.name: status_of(each) for each in machines.all()}
    assert found["web"].state is State.BROKEN
    assert found["web"].problem
    assert (found["other"].state, found["other"].problem) == (State.STOPPED, None)


def test_another_user_s_folder_breaks_that_machine_and_no_other(machines, place, monkeypatch):
    exists = Path.exists

    def refused(path):
        if path.parent.name == "theirs":
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    machines.place("theirs").folder.mkdir()
    monkeypatch.setattr(Path, "exists", refused)
    assert [status_of(each).state for each in machines.all()] == ["broken", "stopped"]


def test_a_lock_dies_with_its_holder(place):
    assert not place.is_held("run.lock")
    code = (
        "import os,sys,time; from haulout.machine import Machines; from pathlib import Path;"
        f"p=Machines(Path({str(place.folder.parent.parent)!r}),Path('/'),Path('/')).place('web');"
        "p.take('run.lock'); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert place.is_held("run.lock")
        with pytest.raises(ConflictError):
            place.take("run.lock")
        process.kill()
        process.wait()
    assert not place.is_held("run.lock")


def test_two_commands_do_not_change_one_machine(place, monkeypatch):
    monkeypatch.setattr("haulout.machine.store._LOCK_SECONDS", 0.1)
    with place.lock(), pytest.raises(ConflictError, match="another command"), place.lock():
        pass


def test_a_socket_path_that_is_too_long_is_refused(tmp_path):
    place = Machines(tmp_path, tmp_path / ("r" * 100), tmp_path).place("web")
    with pytest.raises(StorageError, match="too long for sockets"):
        place.prepare_runtime(MACHINE)
    assert not place.runtime.exists()


def test_a_relative_runtime_folder_is_passed_over(monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    usual = Machines.here().runtime
    monkeypatch.setenv("XDG_RUNTIME_DIR", "run")
    assert Machines.here().runtime == usual


def test_a_machine_may_have_no_sockets(tmp_path, monkeypatch):
    # A short path, wherever the tests' folder is.
    monkeypatch.chdir(tmp_path)
    place = Machines(tmp_path, Path("run"), tmp_path).place("web")
    place.prepare_runtime(replace(MACHINE, sockets=()))
    assert place.runtime.is_dir()


def test_the_longest_name_fits_where_sockets_usually_are(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", lambda *_args, **_more: None)
    monkeypatch.setattr(Path, "chmod", lambda *_args: None)
    monkeypatch.setattr(Path, "lstat", lambda _: tmp_path.stat())
    runtime = Path("/run/user/1234567890/haulout")
    Machines(tmp_path, runtime, tmp_path).place("m" * 30).prepare_runtime(MACHINE)


def test_the_runtime_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    runtime = Path("/tmp") / f"hm-{os.getpid()}"
    place = Machines(tmp_path, runtime, tmp_path).place("web")
    runtime.mkdir()
    try:
        monkeypatch.setattr("os.geteuid", lambda: 4711)
        with pytest.raises(StorageError, match="another user"):
            place.prepare_runtime(MACHINE)
    finally:
        runtime.rmdir()


def test_the_history_survives_a_torn_line(place):
    assert place.last_event() is None
    place.record("ended", "the guest shut down")
    with place.file("events.jsonl").open("a") as file:
        file.write('{"at": "2026-')
    last = place.last_event()
    assert last is not None
    assert (last.kind, last.detail) == ("ended", "the guest shut down")


def test_data_is_kept_unless_it_is_to_go(place):
    place.file("data.raw").write_bytes(b"x")
    place.file("system.qcow2").write_bytes(b"x")
    removed = remove(place, data=False)
    assert {path.name for path in removed} == {"machine.json", "system.qcow2"}
    with pytest.raises(NotFoundError, match="its data was kept"):
        place.load()
    assert [path.name for path in remove(place, data=True)] == ["data.raw"]
    assert not place.folder.exists()


@pytest.mark.parametrize("killed", [KeyboardInterrupt, None])
def test_a_copy_that_was_killed_is_no_machine_and_no_data(machines, place, killed):
    target = machines.place("copy")
    target.folder.mkdir()
    for name in ("data.raw", "key", "key.pub"):
        place.file(name).write_bytes(b"x")
    with contextlib.suppress(KeyboardInterrupt), appearing_machine(target, replace(MACHINE, name="copy")):
        clone_files(place, target, MACHINE.image)
        if killed:
            raise killed
    assert target.exists() == (killed is None)
    assert {path.name for path in clear(target)} >= {"data.raw"} if killed else {"key"}
    assert target.file("data.raw").exists() == (killed is None)


def test_a_removal_that_was_killed_can_be_done_again_and_keeps_the_data(place, monkeypatch):
    for name in ("data.raw", "system.qcow2", "key"):
        place.file(name).write_bytes(b"x")
    unlink = Path.unlink
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, **_: unlink(path) if path.name == "machine.json" else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            remove(place, data=False)
    assert not place.exists()
    assert {path.name for path in clear(place)} == {"system.qcow2", "key"}
    assert place.file("data.raw").exists()


def test_who_asks_for_a_lock_is_not_taken_for_its_holder(place):
    fd = place.take("run.lock")
    try:
        with place.file("run.lock").open("rb"):
            assert [peer.pid for peer in Peer.writing(place.file("run.lock"))] == [os.getpid()]
        assert place.is_held("run.lock")
    finally:
        os.close(fd)
    with place.file("run.lock").open("rb"):
        assert Peer.writing(place.file("run.lock")) == []


def test_a_lock_is_seen_where_nothing_can_be_written(place):
    fd = place.take("run.lock")
    try:
        place.file("run.lock").chmod(0o400)
        assert place.is_held("run.lock")
    finally:
        os.close(fd)


def test_a_key_is_there_whole_or_not_at_all(place):
    place.file("key").write_bytes(b"")
    make_key(place)
    assert place.file("key").read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY")
    assert place.file("key.pub").read_text().startswith("ssh-ed25519 ")
    assert {path.stat().st_mode & 0o777 for path in place.folder.glob("key*")} == {0o600}


def test_a_base_goes_with_its_last_machine(machines, place):
    base = place.base(MACHINE)
    base.parent.mkdir()
    base.write_bytes(b"x")
    assert remove_unused_bases(machines) == []
    place.file("machine.json").write_text("{")
    assert remove_unused_bases(machines) == [], "a file that cannot be read may need any"
    remove(place, data=True)
    assert remove_unused_bases(machines) == [base]


def test_a_base_that_is_not_whole_stays_for_the_way_back(machines, place):
    base = place.base(MACHINE)
    base.parent.mkdir()
    name = "sha256-" + "f" * 64
    files = [base.with_name(each) for each in (f".{name}.0a0a0a0a0a0a.disk.partial", f"{name}.lazy", f"{name}.toc")]
    for each in files:
        each.write_bytes(b"x")
        os.utime(each, (0, 0))
    slot = place.folder / "slots" / f"{'f' * 12}.qcow2"
    slot.parent.mkdir(exist_ok=True)
    slot.write_bytes(b"x")
    assert remove_unused_bases(machines) == []
    slot.unlink()
    assert remove_unused_bases(machines) == files


def test_a_copy_is_sparse(machines, place):
    target = machines.place("copy")
    target.folder.mkdir()
    with place.file("data.raw").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"in the middle")
    clone_files(place, target, MACHINE.image)
    assert target.file("data.raw").read_bytes() == place.file("data.raw").read_bytes()
    assert disks(target, None).data < 1 << 20
    assert disks(target, None).data_size == 64 << 20
