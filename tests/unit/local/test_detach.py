"""Programs that go on by themselves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haulout.local import begin, detach, terminate


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_zombie_stays_where_the_caller_goes_on(tmp_path):
    with (tmp_path / "pid").open("w") as out:
        detach(["sh", "-c", "echo $$"], stdout=out.fileno(), stderr=out.fileno())
    deadline = time.monotonic() + 10
    while not (pid := (tmp_path / "pid").read_text().strip()) or Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(ChildProcessError):
        os.waitpid(int(pid), 0)


def test_nothing_is_said_when_the_caller_ends_first():
    code = "from haulout.local import detach; detach(['sleep', '2'], stdout=2, stderr=2)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], stderr=subprocess.PIPE, timeout=20, check=True, text=True
    )
    assert done.stderr == ""


def test_a_program_is_ended_while_another_holds_its_pipe():
    holder = "import subprocess, sys; subprocess.Popen(['sleep', '20'], start_new_session=True); print(flush=True)"

    async def ended():
        process = await begin([sys.executable, "-c", f"{holder}; sys.stdin.read()"], stdin=-1, stdout=-1)
        assert process.stdout is not None
        await process.stdout.readline()
        began = time.monotonic()
        await terminate(process)
        return process.returncode, time.monotonic() - began

    code, seconds = asyncio.run(ended())
    assert code == -15
    # The other one goes on for 20.
    assert seconds < 15


def test_a_program_that_ignores_a_signal_is_killed():
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(20)"

    async def ended():
        process = await begin([sys.executable, "-c", stubborn], stdout=-1)
        assert process.stdout is not None
        await process.stdout.readline()
        await terminate(process, 0.1)
        return process.returncode

    assert asyncio.run(ended()) == -9
