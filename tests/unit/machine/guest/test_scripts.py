"""Scripts for a guest's root: run here by the same kind of shell, in a sandbox of its own commands."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import replace

from tests.support.machines import short_folder
from tests.unit.machine.test_model import MACHINE

from haulout.machine import Mount, Socket
from haulout.machine.guest import scripts


def sh(script, folder, **programs):
    """Run a script; ``programs`` are shell texts that stand for commands, and nothing else is there."""
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": str(folder)}
    done = subprocess.run(
        ["/bin/sh", "-s"], input=script, env=environment, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.splitlines()


def test_mounts_are_made_once_and_names_are_quoted(tmp_path):
    machine = replace(MACHINE, mounts=(Mount("/a", "/mnt/$(reboot) x", read_only=True), Mount("/b", "/b")), sockets=())
    record = f'echo "$0 $*" >>{tmp_path}/calls'
    sh(scripts.setup(machine), tmp_path, mkdir="", mount=record, grep='[ "$2" = "^mount1 " ]')
    assert (tmp_path / "calls").read_text() == f"{tmp_path}/mount -t virtiofs -o ro mount0 /mnt/$(reboot) x\n"


def test_podman_is_told_of_what_changed_before_it_is_started(tmp_path):
    record = f'echo "$*" >>{tmp_path}/calls'
    for additions, restarts in (("", 0), ("changed=1", 2)):
        (tmp_path / "calls").write_text("")
        script = scripts.setup(replace(MACHINE, sockets=(), mounts=()), additions)
        said = sh(script, tmp_path, podman="", loginctl="", systemctl=record)
        assert said == ["has-podman"]
        calls = (tmp_path / "calls").read_text().splitlines()
        assert sum("try-restart podman.service" in each for each in calls) == restarts
        assert calls[-1] == "--user -M core@ start podman.socket"


def test_the_sockets_there_are_are_named(tmp_path):
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "a b"))
        sockets = (Socket("podman", f"{folder}/a b", "core"), Socket("other", f"{folder}/none", "root"))
        assert sh(scripts.sockets(replace(MACHINE, sockets=sockets)) + "\nexit 0", tmp_path) == ["podman"]


def test_the_clock_is_set_by_an_order_and_told_at_each_line(tmp_path):
    (tmp_path / "date").write_text(f'#!/bin/sh\n[ "$1" = +%s ] && echo 5; echo "$*" >>{tmp_path}/calls\n')
    (tmp_path / "date").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", scripts.CLOCK],
        input="\n@60\n\n",
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.stdout == "5\n5\n5\n"
    assert (tmp_path / "calls").read_text() == "+%s\n-u -s @60\n+%s\n+%s\n"
