"""The reliability benchmark, small: push and pull killed at a dozen points each break none of its promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.servers import needs

SCRIPT = Path(__file__).parents[2] / "benchmarks/reliability.py"


@pytest.mark.long
@pytest.mark.tools
@pytest.mark.slow
@needs("docker-registry", "strace", "qemu-img")
def test_kill_9_at_a_dozen_points_of_push_and_of_pull():
    done = subprocess.run([sys.executable, SCRIPT, "12"], check=False, capture_output=True, text=True, timeout=170)
    if "strace cannot attach" in done.stderr:
        pytest.skip("strace may not attach to processes here")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = {what: int(number) for what, number in re.findall(r"^([a-z -].*): (\d+)$", done.stdout, re.MULTILINE)}
    assert figures["points of push"] >= 12
    assert figures["points of pull"] >= 12
    assert figures["reruns completed"] == figures["points of push"] + figures["points of pull"]
