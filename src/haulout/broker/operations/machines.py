"""Machines that should have attested by now: pure."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from haulout.broker.stores import Machine

OVERDUE: Final = timedelta(hours=26)
"""After this long without a success a machine is overdue: one that attests daily may be two hours late."""
FORGOTTEN: Final = timedelta(days=90)
"""After this long without any attempt it counts as retired."""


class State(StrEnum):
    """How a machine stands."""

    CURRENT = "current"
    OVERDUE = "overdue"
    REFUSED = "refused"


def state_of(machine: Machine, now: datetime, overdue: timedelta = OVERDUE) -> State:
    """Judge a machine: refused at its last attempt, or without success for too long."""
    if machine.last.entry.decision == "refused":
        return State.REFUSED
    late = machine.succeeded is None or now - datetime.fromisoformat(machine.succeeded) > overdue
    return State.OVERDUE if late else State.CURRENT


def counted(machines: Iterable[Machine], now: datetime, overdue: timedelta = OVERDUE) -> Counter[tuple[str, State]]:
    """Count machines by workload and state."""
    return Counter((one.workload, state_of(one, now, overdue)) for one in machines)
