"""What a broker does now and then, in one thread: remove what expired, and make forecasts.

All instances do it; nothing is lost where two do the same, or none for a while.
"""

from __future__ import annotations

import logging
from collections import deque
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from haulout.broker.operations.console import ForecastLine, ForecastView
from haulout.broker.policy import follow, forecast, parse, read_list
from haulout.errors import HauloutError
from haulout.tee import stamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from haulout.broker.operations.collateral import Supply
    from haulout.broker.policy import Outlook, WorkloadPolicy
    from haulout.broker.stores import Store, Workload
    from haulout.tee import Given

SWEEP_SECONDS: Final = 60.0
FORECAST_EACH: Final = 60
"""Sweeps between two forecasts: an hour."""
AHEAD: Final = timedelta(days=1)
LOOK_BACK: Final = timedelta(days=14)
"""Machines that made no attempt since are left out of forecasts."""
MOST: Final = 2000
"""Attempts of a workload that a forecast verifies anew, the newest: some seconds."""

_LOG: Final = logging.getLogger("haulout.broker.upkeep")


class Upkeep:
    """The thread. Start it after forking, and close it.

    Args:
        store: of the broker.
        supply: has the collateral that Intel announces.
        evidence_days: how long evidence is kept for dry runs and forecasts.
        now: the clock.
    """

    def __init__(self, store: Store, supply: Supply, *, evidence_days: float, now: Callable[[], datetime]) -> None:
        self._store, self._supply, self._now = store, supply, now
        self._evidence = timedelta(days=evidence_days)
        self._end = Event()
        self._forecasts: dict[str, ForecastView] = {}
        self._thread = Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._end.set()

    def forecast(self, owner: str) -> ForecastView | None:
        """Return the last forecast for an owner; None: there is none yet."""
        return self._forecasts.get(owner)

    def _run(self) -> None:
        turn = 0
        while not self._end.is_set():
            try:
                self.sweep()
                if turn % FORECAST_EACH == 0:
                    self.foretell()
            except HauloutError as exc:
                _LOG.warning("upkeep failed", extra={"reason": str(exc)})
            except Exception:  # noqa: BLE001 - the thread goes on, and the log has its place
                _LOG.exception("upkeep failed")
            turn += 1
            self._end.wait(SWEEP_SECONDS)

    def sweep(self) -> int:
        """Remove expired sessions and old evidence; return how many sessions there were.

        Raises:
            StoreError: the database refuses.
        """
        now = self._now()
        with self._store.write() as unit:
            gone = unit.attestations.forget(now)
            unit.attestations.forget_evidence(now - self._evidence)
        if gone:
            _LOG.info("expired sessions removed", extra={"count": gone})
        return gone

    def foretell(self) -> None:
        """Make the forecasts of all owners.

        Raises:
            StoreError: the database refuses.
        """
        now = self._now()
        with self._store.read() as unit:
            owners = {name: unit.workloads.all(name) for name in unit.owners.names()}
        made = {}
        for owner, workloads in owners.items():
            outlooks = [one for each in workloads if not self._end.is_set() for one in self._outlooks(each, now)]
            refused = tuple(_line(one) for one in outlooks if one.warns)
            words = "tomorrow, with what vendors announce as far as it is at hand"
            made[owner] = ForecastView(stamp(now), words, len(outlooks), refused)
        self._forecasts = made

    def _outlooks(self, workload: Workload, now: datetime) -> tuple[Outlook, ...]:
        policy = _policy(workload)
        if policy is None:
            return ()
        with self._store.read() as unit:
            attempts = list(deque(unit.attestations.recorded(stamp(now - LOOK_BACK), workload=workload.id), MOST))
        newer: dict[bytes, Given] = {}
        for one in attempts:
            supplied = self._supply.for_evidence(one.evidence, early=True)
            newer |= {given.data: given for given in supplied.collateral}
        return forecast(policy, attempts, now + AHEAD, collateral=tuple(newer.values()), releases=workload.releases)


def _policy(workload: Workload) -> WorkloadPolicy | None:
    if workload.policy is None:
        return None
    try:
        policy = parse(workload.policy.document)
        if policy.follows and workload.list is not None:
            return follow(policy, workload.id, read_list(workload.list, policy.keys), None)
    except HauloutError as exc:
        _LOG.warning("a policy cannot be read", extra={"workload": workload.id, "reason": str(exc)})
        return None
    return policy


def _line(one: Outlook) -> ForecastLine:
    short = tuple(str(each) for each in one.shortfalls)
    return ForecastLine(one.recorded.workload, one.machine, one.then.words, one.then.rule, short)
