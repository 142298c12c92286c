"""Waiting for a supervisor: what it says arrives, and the wait can be cancelled while it says nothing."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import pytest
from tests.support.machines import short_folder

from haulout.errors import NotReady
from haulout.machine import Machines, control, follow, status
from haulout.progress import NullProgress
from haulout.usecases.machine_lifecycle import _wait


@contextmanager
def supervisor(*answers, pause=0.0, silent=False):
    """Yield a place whose supervisor says this."""
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
        place = Machines(folder, folder, folder).place("web")
        place.runtime.mkdir()
        listener.bind(str(place.socket("control")))
        listener.listen()
        done = threading.Event()

        def serve():
            link, _ = listener.accept()
            with link:
                link.recv(1000)
                for piece in answers:
                    link.sendall(piece)
                    time.sleep(pause)
                if silent:
                    done.wait(20)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield place
        finally:
            done.set()
            thread.join(5)


def test_lines_arrive_whole_however_they_are_cut():
    said: list[str] = []
    with supervisor(b'{"say": "o', b'ne"}\n{"say"', b': "two"}\n{"done": true}\n', pause=0.02) as place:
        follow(place, {"do": "follow"}, said.append)
    assert said == ["one", "two"]


@pytest.mark.parametrize("answers", [(), (b'{"say": "one"}\n',), (b'{"done"',), (b"rubbish\n",)])
def test_a_supervisor_that_ends_is_not_waited_for(answers):
    with supervisor(*answers) as place, pytest.raises(NotReady):
        follow(place, {"do": "follow"}, lambda _: None)


def test_a_supervisor_that_is_silent_has_no_status(monkeypatch):
    monkeypatch.setattr(control, "_STATUS_SECONDS", 0.1)
    with supervisor(silent=True) as place:
        assert status(place) is None


def test_a_wait_is_cancelled_by_an_exception_of_the_caller(monkeypatch):
    monkeypatch.setattr(control, "_TICK_SECONDS", 0.01)

    class Cancelled(Exception):  # noqa: N818 - as a caller may name it
        pass

    notes: list[str] = []

    class Waiting:
        def advance(self, _amount):
            if notes:
                raise Cancelled

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            pass

    class Cancelling(NullProgress):
        def note(self, message):
            notes.append(message)

        def task(self, name, total, *, unit="B", done=0):
            assert (name, total) == ("", None), "it is not shown"
            return Waiting()

    progress = Cancelling()
    with supervisor(b'{"say": "waiting for the guest to boot"}\n', silent=True) as place, pytest.raises(Cancelled):
        _wait(place, {"do": "follow"}, progress)
    assert notes == ["web: waiting for the guest to boot"]
