"""States are derived, and so is the reason of an end."""

from __future__ import annotations

import pytest

from haulout.machine import Event, State, Status, derive, why_ended
from haulout.machine.states import CUT_SHORT, REBOOTED, UNSEEN, Phase


@pytest.mark.parametrize(
    ("supervised", "running", "status", "state"),
    [
        (False, False, None, State.STOPPED),
        (False, True, None, State.UNATTENDED),
        (True, False, None, State.STARTING),
        (True, True, None, State.STARTING),
        (True, True, Status(Phase.BOOTING, 1), State.STARTING),
        (True, True, Status(Phase.CONNECTING, 1), State.STARTING),
        (True, True, Status(Phase.READY, 1), State.RUNNING),
        (True, True, Status(Phase.READY, 1, missing=("podman",)), State.DEGRADED),
        (True, True, Status(Phase.READY, 1, lost=("the mount of /src hangs",)), State.DEGRADED),
        (True, True, Status(Phase.STOPPING, 1), State.STOPPING),
    ],
)
def test_every_state(supervised, running, status, state):
    assert derive(supervised=supervised, running=running, status=status) is state


def test_why_a_machine_ended():
    ended = Event("2026-01-01T00:00:00+00:00", "ended", "the guest shut down")
    assert why_ended(ended, State.STOPPED) == "the guest shut down"
    assert why_ended(ended, State.RUNNING) is None
    assert why_ended(None, State.STOPPED) is None
    assert why_ended(ended, State.STOPPED, "another boot") == "the guest shut down"
    assert why_ended(Event(ended.at, "ready", "", "this"), State.STOPPED, "this") == UNSEEN
    assert why_ended(Event(ended.at, "ready", "", "this"), State.STOPPED, "another boot") == REBOOTED
    assert why_ended(Event(ended.at, "stopping", "", "this"), State.STOPPED, "this") == CUT_SHORT
