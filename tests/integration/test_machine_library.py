"""The program of docs/library.md with a machine that really starts, and the history of what happens to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from tests.support.documents import blocks
from tests.support.machines import listed, machines, supervisor, until, vm
from tests.support.sandbox import ROOT

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(900)]
(PROGRAM,) = [block.text for block in blocks(ROOT / "docs/library.md") if "machine_list" in block.text]


def history(place, *arguments):
    return [json.loads(line) for line in place.haulout("machine", "events", "--json", *arguments).out.splitlines()]


def test_the_documented_program_starts_a_machine_and_hears_of_it(tmp_path):
    with machines(tmp_path) as place:
        made = place.shell("haulout machine init web oci:machines:5.0 --cpus 1 --memory 256 --disk 1")
        assert made.code == 0, made.err
        (place.path / "tray.py").write_text(PROGRAM)
        said = place.shell(f"{sys.executable} tray.py")
        assert (said.code, said.err) == (0, ""), said.err
        lines = said.out.splitlines()
        assert "web stopped " in lines
        assert "web: waiting for the guest to boot" in lines
        runtime = f"{place.environment['XDG_RUNTIME_DIR']}/haulout/web"
        assert f"web {runtime}/podman.sock True" in lines
        assert f"web-root {runtime}/podman-root.sock True" in lines
        assert f"ssh -F {runtime}/ssh_config web" in lines
        for kind in ("created", "starting", "started"):
            assert any(f" web {kind} " in line for line in lines), said.out

        place.haulout("machine", "set", "web", "--memory", "300", "--proxy", "none")
        with subprocess.Popen(
            ["haulout", "machine", "events", "--follow", "--json", "--since", "2000-01-01"], env=place.environment,
            stdout=subprocess.PIPE, text=True,
        ) as follower:  # fmt: skip
            assert follower.stdout is not None
            assert place.haulout("machine", "start", "web", "--no-connect").code == 0
            # As when the host goes down: nobody is left to tell.
            for pid in (supervisor(place, "web")[0], vm(place, "web")[0]):
                os.kill(pid, signal.SIGKILL)
            until(lambda: listed(place)["web"]["state"] == "stopped")
            assert place.haulout("machine", "start", "web", "--no-connect").code == 0
            assert place.haulout("machine", "stop", "web", "--wait", "0").code == 0
            assert place.haulout("machine", "clone", "web", "later").code == 0
            assert place.haulout("machine", "rm", "later", "--data").code == 0
            found: list[dict[str, Any]] = []
            while not found or found[-1]["kind"] != "removed":
                found.append(json.loads(follower.stdout.readline()))
            follower.send_signal(signal.SIGINT)
            assert follower.wait(10) == 130
        assert found == history(place)
        assert [(one["machine"], one["kind"]) for one in found] == [
            *(("web", kind) for kind in ("created", "starting", "started", "stopped", "set")),
            *(("web", kind) for kind in ("starting", "started", "crashed", "starting", "started", "stopped")),
            *(("later", kind) for kind in ("cloned", "removed")),
        ]
        crashed, changed = found[7], found[4]
        assert "killed" in crashed["data"]["reason"]
        assert changed["data"] == {"resources": {"cpus": 1, "memory": 300, "disk": 1}, "proxy": "none"}
        assert len({one["id"] for one in found}) == 2
        assert [one["kind"] for one in history(place, "later", "--since", "1h")] == ["cloned", "removed"]
