"""What the console shows an owner, from what is stored: no HTML here, and nothing of other owners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.broker.operations.machines import FORGOTTEN, OVERDUE, State, state_of
from haulout.broker.policy import parse
from haulout.errors import HauloutError
from haulout.tee import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from haulout.broker.audit import Row
    from haulout.broker.stores import Machine, Unit, Workload

ROWS: Final = 50
MACHINES: Final = 200


@dataclass(frozen=True, slots=True)
class WorkloadLine:
    """A workload; ``version`` 0: it has no policy."""

    id: str
    releases: int
    version: int = 0
    since: str = ""
    tees: tuple[str, ...] = ()
    epoch: int = 0
    most: int | None = None
    begin: str | None = None
    end: str | None = None
    test: bool = False


@dataclass(frozen=True, slots=True)
class MachineLine:
    """A machine: its state in a word, and what was said at its last attempt."""

    state: State
    workload: str
    machine: str
    succeeded: str | None
    attempted: str
    words: str
    rule: str


@dataclass(frozen=True, slots=True)
class ForecastLine:
    """A machine that gets its key today, and would be refused; ``short`` names versions that are too low."""

    workload: str
    machine: str
    words: str
    rule: str
    short: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForecastView:
    """A forecast: when it was made, ``words`` for when and with what, of how many machines, who would be refused."""

    made: str
    words: str
    machines: int
    refused: Sequence[ForecastLine]


@dataclass(frozen=True, slots=True)
class View:
    """The page."""

    owner: str
    at: str
    chosen: str | None
    overdue_words: str
    workloads: Sequence[WorkloadLine]
    machines: Sequence[MachineLine]
    counts: dict[State, int]
    refusals: Sequence[Row]
    attestations: Sequence[Row]
    forecast: ForecastView | None

    @property
    def summary(self) -> tuple[tuple[int, str, str], ...]:
        """Return counts with what is counted, for one and for several."""
        return (
            (len(self.workloads), "workload", "workloads"),
            (sum(self.counts.values()), "machine", "machines"),
            (self.counts[State.OVERDUE], "overdue machine", "overdue machines"),
            (
                self.counts[State.REFUSED],
                "machine refused at its last attempt",
                "machines refused at their last attempt",
            ),
            (
                len(self.forecast.refused) if self.forecast else 0,
                "machine would be refused soon",
                "machines would be refused soon",
            ),
        )


def look(
    unit: Unit,
    owner: str,
    now: datetime,
    *,
    chosen: str | None = None,
    overdue: timedelta = OVERDUE,
    forecast: ForecastView | None = None,
) -> View:
    """Gather what an owner sees.

    Args:
        unit: the store, as it is at one moment.
        owner: whose workloads.
        now: the time.
        chosen: one of them; None: all.
        overdue: after how long without success a machine is.
        forecast: the last one made.

    Raises:
        Unknown: the chosen workload is not the owner's.
    """
    workloads = unit.workloads.all(owner) if chosen is None else [unit.workloads.get(chosen, owner)]
    machines = [_machine(one, now, overdue) for one in unit.overview.machines(owner, now - FORGOTTEN, workload=chosen)]
    # What needs somebody comes first; within that, the longest ago.
    machines.sort(key=lambda one: _ORDER.index(one.state))
    shown = forecast
    if forecast is not None and chosen is not None:
        mine = [one for one in forecast.refused if one.workload == chosen]
        shown = ForecastView(forecast.made, forecast.words, forecast.machines, mine)
    return View(
        owner=owner,
        at=stamp(now),
        chosen=chosen,
        overdue_words=f"{overdue.total_seconds() / 3600:.0f} hours",
        workloads=[_workload(one) for one in workloads],
        machines=machines[:MACHINES],
        counts={state: sum(one.state is state for one in machines) for state in State},
        refusals=unit.overview.newest(owner, workload=chosen, refused=True, limit=ROWS),
        attestations=unit.overview.newest(owner, workload=chosen, limit=ROWS),
        forecast=shown,
    )


_ORDER: Final = (State.REFUSED, State.OVERDUE, State.CURRENT)


def _machine(one: Machine, now: datetime, overdue: timedelta) -> MachineLine:
    entry = one.last.entry
    state = state_of(one, now, overdue)
    return MachineLine(state, one.workload, one.machine, one.succeeded, entry.at, entry.words, entry.rule)


def _workload(one: Workload) -> WorkloadLine:
    if one.policy is None:
        return WorkloadLine(one.id, one.releases)
    try:
        policy = parse(one.policy.document)
    except HauloutError:
        # Made by a later version of Haulout; the guest is told so as well.
        return WorkloadLine(one.id, one.releases, one.policy.version, stamp(one.policy.created))
    return WorkloadLine(
        one.id,
        one.releases,
        one.policy.version,
        stamp(one.policy.created),
        policy.tees,
        policy.minimum_epoch,
        policy.release.releases,
        policy.release.begin,
        policy.release.end,
        policy.evidence.test,
    )
