"""Consoles that are followed."""

from __future__ import annotations

import os

import pytest
from tests.unit.machine.test_model import MACHINE

from haulout.errors import NotFoundError
from haulout.machine import Machines
from haulout.usecases.machine_query import machine_logs


def test_a_console_is_followed_from_one_start_to_the_next(tmp_path, monkeypatch):
    for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    with pytest.raises(NotFoundError):
        next(machine_logs("web"))
    place = Machines.here().place("web")
    place.folder.mkdir(parents=True)
    place.save(MACHINE)
    assert list(machine_logs("web")) == []
    console = place.file("console.log")
    held = place.take("run.lock")
    try:
        said = machine_logs("web", follow=True)
        # A character that comes in two parts is one.
        console.write_bytes(b"one \xc3")
        assert next(said) == "one "
        with console.open("ab") as file:
            file.write(b"\xa9\n")
        assert next(said) == "é\n"
        console.replace(place.file("console.log.1"))
        console.write_bytes(b"two, and longer than the first\n")
        assert next(said) == "two, and longer than the first\n"
    finally:
        os.close(held)
    assert list(said) == []
    assert list(machine_logs("web")) == ["two, and longer than the first\n"]
