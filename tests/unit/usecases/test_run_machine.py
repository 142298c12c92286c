"""What runs leave that were killed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from tests.unit.machine.test_model import MACHINE

from haulout.errors import ConflictError, UsageError
from haulout.machine import Machines, client
from haulout.usecases.machine_init import machine_clone
from haulout.usecases.machine_lifecycle import machine_cp, machine_restart
from haulout.usecases.run_machine import run_machine, sweep_abandoned


@pytest.fixture
def machines(tmp_path, monkeypatch):
    for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "PATH"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return Machines.here()


@pytest.fixture
def web(machines):
    place = machines.place("web")
    place.folder.mkdir(parents=True)
    place.save(MACHINE)
    return place


def test_the_next_run_removes_what_killed_runs_have_left(machines):
    for name, ephemeral, old in (
        ("left", True, True),
        ("new", True, False),
        ("held", True, True),
        ("kept", False, True),
    ):
        place = machines.place(name)
        place.folder.mkdir(parents=True)
        place.save(replace(MACHINE, name=name, ephemeral=ephemeral))
        place.file("data.raw").write_bytes(b"x")
        if old:
            os.utime(place.file("machine.json"), (0, 0))
    held = machines.place("held").take("run.lock")
    try:
        sweep_abandoned()
    finally:
        os.close(held)
    assert [place.name for place in machines.all()] == ["held", "kept", "new"]
    assert not machines.place("left").folder.exists()


def test_a_run_uses_no_machine_that_is_another(web, monkeypatch):
    monkeypatch.setattr("haulout.usecases.run_machine.machine_start", lambda *_args, **_more: None)
    monkeypatch.setattr("haulout.usecases.run_machine.machine_ssh", lambda *_args, **_more: 7)
    same, has = MACHINE.image.reference, MACHINE.resources
    assert run_machine(same, name="web", cpus=has.cpus, memory=has.memory) == 7
    with pytest.raises(ConflictError, match="made from"):
        run_machine("other.example.com/machines:5.0", name="web")
    for cpus, memory in ((has.cpus + 1, None), (None, has.memory + 1)):
        with pytest.raises(ConflictError, match="with --cpus"):
            run_machine(same, name="web", cpus=cpus, memory=memory)


def test_a_copy_has_another_name_and_is_not_thrown_away(web, machines):
    with pytest.raises(UsageError, match="another name"):
        machine_clone("web", "web")
    web.save(replace(MACHINE, ephemeral=True))
    machine_clone("web", "copy")
    assert not machines.place("copy").load().ephemeral


def test_an_empty_path_is_not_the_current_directory(web):
    for sides in (("", "web:/tmp"), ("web:/etc/hostname", "")):
        with pytest.raises(UsageError, match="empty"):
            machine_cp(*sides)


def test_no_word_of_a_command_is_an_option_of_ssh(web):
    assert client(web, "core", "-t")[-3:] == ["-t", "--", "web"]


def test_a_restart_without_a_supervisor_is_one(web, monkeypatch):
    lock, done = web.take("vm.lock"), []
    # Whether it could start again is tested with real machines.
    monkeypatch.setattr("haulout.machine.qemu.Qemu.check", lambda *_: None)
    for name in ("machine_stop", "machine_start"):
        monkeypatch.setattr(
            f"haulout.usecases.machine_lifecycle.{name}", lambda *_args, n=name, **_more: done.append(n)
        )
    machine_restart("web")
    os.close(lock)
    machine_restart("web")
    assert done == ["machine_stop", "machine_start", "machine_start"]
