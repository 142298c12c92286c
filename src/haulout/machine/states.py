"""States of a machine: derived from locks and answers each time, never stored. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from haulout.documents import Document


class State(StrEnum):
    """What a machine is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    """It runs, but one of its sockets does not answer, or it lost a mount."""
    STOPPING = "stopping"
    UNATTENDED = "unattended"
    """It runs, but its supervisor has died: no socket answers. ``start`` takes it over."""
    BROKEN = "broken"
    """Its machine file cannot be used; nothing else is affected."""


class Phase(StrEnum):
    """How far a supervisor is."""

    BOOTING = "booting"
    CONNECTING = "connecting"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Status(Document):
    """What a supervisor says about its machine."""

    phase: Phase
    since: float
    """Seconds in this phase."""
    waiting_for: str = ""
    accelerator: str = ""
    port: int = 0
    """Of ssh, on the loopback address; 0: not known yet."""
    sockets: tuple[str, ...] = ()
    """Names of the sockets that lead into the guest."""
    missing: tuple[str, ...] = ()
    """Names of those that the guest does not have."""
    lost: tuple[str, ...] = ()
    """What it had when it started, as a mount, and has no more: one line for each."""


def derive(*, supervised: bool, running: bool, status: Status | None) -> State:
    """Return the state.

    Args:
        supervised: whether a supervisor holds its lock.
        running: whether a virtual machine holds the lock it inherited.
        status: what the supervisor answers; None: nothing, as in the first and last moments of its life.
    """
    if not supervised:
        return State.UNATTENDED if running else State.STOPPED
    if status is None:
        return State.STARTING
    if status.phase is Phase.READY:
        return State.DEGRADED if status.missing or status.lost else State.RUNNING
    return State.STOPPING if status.phase is Phase.STOPPING else State.STARTING


@dataclass(frozen=True, slots=True)
class Event(Document):
    """One line of a machine's history."""

    at: str
    """RFC 3339, UTC."""
    kind: str
    """``started``, ``ready``, ``stopping`` or ``ended``."""
    detail: str = ""
    boot: str = ""
    """Of the host: another one since it booted last; "" where it has no name for that."""


REBOOTED: Final = "the host went down while it ran"
UNSEEN: Final = "its supervisor was killed, and nobody saw why the machine ended"
CUT_SHORT: Final = "its supervisor was killed while the machine was stopping"


def why_ended(last: Event | None, state: State, boot: str = "") -> str | None:
    """Say why a machine does not run; None where it runs, or never did.

    Args:
        last: the newest line of its history.
        state: as derived.
        boot: as in an event, of now.
    """
    if state not in {State.STOPPED, State.BROKEN} or last is None:
        return None
    if last.kind == "ended":
        return last.detail
    if last.boot != boot:
        return REBOOTED
    return CUT_SHORT if last.kind == "stopping" else UNSEEN
