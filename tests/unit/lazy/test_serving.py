"""A server of a partial disk: when it fetches the rest, and what it tells of reads that wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from haulout.lazy.serving import Serving


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(at=1000.0)
    monkeypatch.setattr("haulout.lazy.serving.time.monotonic", lambda: now.at)
    return now


class Filler:
    began = False

    def begin(self):
        self.began = True


@pytest.fixture
def served(tmp_path, clock):
    made: Any = SimpleNamespace(waits=(0.0, ""), filler=Filler(), file=tmp_path / "x.waits")
    made.file.write_text("of one that was killed")
    image: Any = SimpleNamespace(size=1, fd=-1)
    made.serving = Serving(tmp_path / "base", image, made, made.filler, made.file)

    def tick(seconds, *, settled=True, waits=(0.0, "")):
        clock.at += seconds
        made.waits = waits
        made.serving.tick(settled=settled)
        return made.filler.began

    made.tick = tick
    return made


def test_the_rest_is_fetched_when_a_machine_has_booted_and_reads_nothing_for_a_while(served):
    assert not served.tick(100, settled=False)
    assert not served.tick(1)
    assert not served.tick(4, waits=(0.1, ""))
    assert not served.tick(4)
    assert served.tick(2)


def test_a_machine_that_always_reads_gets_the_rest_nevertheless(served):
    assert not any(served.tick(1, waits=(0.1, "")) for _ in range(60))
    assert served.tick(1, waits=(0.1, ""))


def test_what_reads_wait_for_is_told_while_they_do(served):
    assert not served.file.exists()
    served.tick(1, waits=(2.0, "the registry is away"))
    assert not served.file.exists()
    served.tick(1, waits=(4.0, "the registry\nis away"))
    assert served.file.read_text() == "the registry is away"
    served.tick(1, waits=(5.0, ""))
    assert served.file.read_text() == "it is slow"
    served.tick(1)
    assert not served.file.exists()
