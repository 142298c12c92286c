"""Machines for real: QEMU, OpenSSH, a docker-registry, and the tiny image, which boots in a few seconds without KVM.

Every example of the help of ``machine`` and ``run`` is run here, in an order in which they make sense.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import click
import pytest
from tests.support.machines import ask, listed, machines, rootless, supervisor, until, vm
from tests.support.sandbox import ROOT
from tests.support.servers import needs

from haulout.cli.machine import VERBS
from haulout.cli.tree import Verb, Verbs
from haulout.cli.tree import haulout as tree

VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd")
ROOT_CONTEXT = click.Context(tree)
pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(900)]


def examples(name):
    assert isinstance(tree, Verbs)
    group = tree.get_command(ROOT_CONTEXT, "machine")
    assert isinstance(group, Verbs)
    command = (
        tree.get_command(ROOT_CONTEXT, "run")
        if name == "run"
        else group.get_command(ROOT_CONTEXT, name)
        if name
        else group
    )
    assert isinstance(command, Verb | Verbs)
    return [each.command for each in command.examples]


@needs("docker-registry")
def test_every_example_of_machines_runs_and_prints_what_is_documented(tmp_path):
    documented = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/json.md").read_text()))
    order = [
        "init",
        "set",
        "autostart",
        "auto",
        "start",
        "record",
        "list",
        "inspect",
        "ssh",
        "cp",
        "logs",
        "df",
        "events",
        "compact",
        "stop",
        "clone",
        "export",
        "rm",
        "import",
    ]
    elsewhere = ["restart", "update", "rollback"]
    assert sorted([*order, *elsewhere]) == sorted(VERBS), "those are run by the next test, and by test_machine_update"
    with machines(tmp_path, registry=True) as place:
        (place.path / "notes.txt").write_text("a note\n")
        (place.path / "secret").write_text("correct horse\n")
        pushed = place.shell("haulout login registry.example.com -u builder --password-stdin <token >/dev/null; "
                             "haulout copy oci:machines:5.0 registry.example.com/machines:5.0")  # fmt: skip
        assert pushed.code == 0, pushed.err
        assert examples("") == [examples("init")[0], examples("start")[0]]
        for name in order:
            if name == "start":
                for each in ("web", "new"):
                    assert place.haulout("machine", "set", each, "--cpus", "1", "--memory", "256").code == 0
            for command in examples(name):
                done = place.shell(command)
                assert done.code == 0, f"{command}\n{done.out}{done.err}"
                printed = place.shell(f"{command} --json").out if name in {"list", "inspect", "df"} else ""
                for member in json.loads(printed or "{}"):
                    assert member in documented, f"{command}: {member}"
            if name == "start":
                assert listed(place)["web"]["state"] == "running"
                assert rootless(place) == [True, False]
        assert set(listed(place)) == {"small", "new", "test", "web", "copy"}
        assert (place.path / "os-release").read_text()
        began = time.monotonic()
        done = place.shell(examples("run")[0].replace("run ", "run --cpus 1 --memory 256 "))
        assert done.code == 0, done.err
        assert "6.1" in done.out
        assert set(listed(place)) == {"small", "new", "test", "web", "copy"}, (
            f"gone, after {time.monotonic() - began:.0f} s"
        )


@pytest.mark.long
def test_a_machine_survives_what_is_killed(tmp_path):
    with machines(tmp_path) as place:
        options = "--cpus 1 --memory 256 --disk 1"
        shared = place.path / "shared"
        if VIRTIOFSD.exists() and os.geteuid() == 0:
            # The one of Debian 12 runs as root alone.
            shared.mkdir()
            options += " --mount shared:/mnt/shared"
        made = place.shell(f"haulout machine init web oci:machines:5.0 {options}")
        assert made.code == 0, made.err
        begun = place.haulout("machine", "start", "web", "--json", "--no-connect")
        assert begun.code == 0, begun.err
        assert "waiting for ssh" in begun.err
        write = "echo kept >.local/share/containers/v && sync; exit 7"
        assert place.haulout("machine", "ssh", "web", "--", "sh", "-c", write).code == 7

        if shared.exists():
            write = "echo from the guest >/mnt/shared/f"
            assert place.haulout("machine", "ssh", "web", "--user", "root", "--", "sh", "-c", write).code == 0
            assert (shared / "f").read_text() == "from the guest\n"

        # The supervisor: QEMU goes on, and the next start takes it over.
        before = vm(place, "web")
        assert len(before) == 1
        os.kill(supervisor(place, "web")[0], signal.SIGKILL)
        until(lambda: listed(place)["web"]["state"] == "unattended")
        assert place.haulout("machine", "start", "web", "--no-connect").code == 0
        assert vm(place, "web") == before
        assert rootless(place) == [True, False]
        busy = place.haulout("machine", "rm", "web")
        assert (busy.code, "is running" in busy.err) == (12, True)

        # A restart: a client that comes in the middle waits.
        with subprocess.Popen(
            ["haulout", "machine", "restart", "web"], env=place.environment, stderr=subprocess.PIPE
        ) as restart:
            until(lambda: vm(place, "web") != before)
            assert ask(place, "podman", "/_ping") == b"OK"
            restart.communicate(timeout=240)
            assert restart.returncode == 0

        # QEMU: the list says so, and nothing is lost.
        os.kill(vm(place, "web")[0], signal.SIGKILL)
        until(lambda: listed(place)["web"]["state"] == "stopped")
        assert "killed by signal 9" in listed(place)["web"]["ended"]
        place.environment["HAULOUT_MACHINE_START_NO_CONNECT"] = "1"
        assert place.haulout("machine", "start", "web").code == 0
        assert place.haulout("machine", "ssh", "web", "--", "cat", ".local/share/containers/v").out == "kept\n"
        # Both at once, as when the host goes down; and the runtime folder with them.
        for pid in (supervisor(place, "web")[0], vm(place, "web")[0]):
            os.kill(pid, signal.SIGKILL)
        until(lambda: listed(place)["web"]["state"] == "stopped")
        assert "its supervisor was killed" in listed(place)["web"]["ended"]


def test_an_image_that_never_boots_is_stopped_and_says_so(tmp_path):
    with machines(tmp_path) as place:
        assert (
            place.shell("truncate -s 8M blank.raw && haulout push oci:blank:1 blank.raw --arch x86_64 --force").code
            == 0
        )
        made = place.shell("haulout machine init web oci:blank:1 --cpus 1 --memory 64 --disk 1")
        assert made.code == 0, made.err
        done = place.haulout("machine", "start", "web", "--wait", "2")
        assert done.code == 13, done.err
        assert "ssh did not answer within 2 seconds" in done.err
        assert vm(place, "web") == []
        assert listed(place)["web"]["ended"] == "ssh did not answer within 2 seconds"
        missing = place.haulout("machine", "start", "web", PATH=str(tmp_path / "bin"))
        assert missing.code != 0
        assert "qemu-system-x86_64: is not installed" in missing.err
        assert "apt install qemu-system-x86" in missing.err
