"""A machine that is updated by itself: fetched while it runs, told inside, applied once nobody uses it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from images import tiny
from tests.support.machines import machines, until

pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.environ.get("HAULOUT_TEST_UPDATES"), reason="make test-updates runs it: minutes"),
]


def test_an_update_waits_until_nobody_uses_the_machine(tmp_path):
    with machines(tmp_path) as place:

        def ok(*words):
            done = place.haulout("machine", *words)
            assert done.code == 0, f"{words}: {done.out}{done.err}"
            return done

        def auto():
            (found,) = ok("auto", "run", "--at-once", "--json").json["machines"]
            return found

        ok("init", "web", "oci:machines:5.0", "--cpus", "1", "--memory", "256", "--disk", "1")
        ok("start", "web", "--no-connect")
        ok("set", "web", "--update-policy", "stage")
        image = tiny.variant(tiny.cached(Path(tiny.HERE.parent / ".cache")), "second", place.path / "second.qcow2")
        pushed = place.haulout("push", "oci:machines:5.0", str(image), "--arch", "x86_64", "--type", "qemu")
        assert pushed.code == 0, pushed.err
        assert auto()["status"] == "staged"
        told = ok("ssh", "web", "--user", "root", "--", "cat", "/run/motd.d/haulout").out
        assert told == "haulout: An update is staged. haulout machine update web\n"
        assert "machine auto: it is here, and waits for" in ok("update", "web", "--check").out
        ok("set", "web", "--update-policy", "apply")
        shell = subprocess.Popen(
            ["haulout", "machine", "ssh", "web", "--", "sh", "-c", "echo here; sleep 600"],
            cwd=place.path, env=place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            assert shell.stdout is not None
            assert shell.stdout.readline() == b"here\n"
            busy = auto()
            assert (busy["status"], "nobody uses the machine: " in busy["why"]) == ("waiting", True), busy
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
            shell.communicate()
        assert auto()["status"] == "updated"
        assert ok("ssh", "web", "--", "cat", "/run/variant").out == "second\n"
        until(lambda: auto()["status"] == "current", 60)
        assert place.haulout("machine", "ssh", "web", "--", "test", "-e", "/run/motd.d/haulout").code == 1
        kinds = [line.split()[3] for line in ok("events", "web").out.splitlines()]
        assert [kind for kind in kinds if "update" in kind] == ["update-staged:", "updated:"]
