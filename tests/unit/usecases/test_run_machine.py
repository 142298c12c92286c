"""What runs leave that were killed."""

from __future__ import annotations

import os
from dataclasses import replace

from tests.unit.machine.test_model import MACHINE

from haulout.machine import Machines
from haulout.usecases.run_machine import sweep_abandoned


def test_the_next_run_removes_what_killed_runs_have_left(tmp_path, monkeypatch):
    for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "PATH"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    machines = Machines.here()
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
