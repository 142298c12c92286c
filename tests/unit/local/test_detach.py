"""Programs that go on by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haulout.local import detach


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
