"""The room as a guest loads it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("room", ["luks", "verity", "binding"])
def test_a_guest_loads_these_rooms_and_little_else(room):
    code = f"import sys, haulout.workload.{room} as room; [getattr(room, name) for name in room.__all__]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.split(".", 1)[1] for name in done.stdout.split() if name.startswith("haulout.")}
    allowed = ("_face", "errors", "extras", "oci", "oci.", "workload", f"workload.{room}")
    assert {name for name in loaded if not name.startswith(allowed)} == set()
    assert {name for name in loaded if name.startswith("workload.")} <= {
        name for name in loaded if name.startswith(f"workload.{room}")
    }
