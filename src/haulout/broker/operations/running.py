"""All that runs beside the application of a broker, put together."""

from __future__ import annotations

import hmac
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from haulout.broker.operations.collateral import Cache, Refresher, Services, Supply, fetch
from haulout.broker.operations.console import Console
from haulout.broker.operations.guard import PER_CLIENT, PER_WORKLOAD, Guard, Limits
from haulout.broker.operations.health import Readiness
from haulout.broker.operations.limits import Limit, Limiter
from haulout.broker.operations.machines import FORGOTTEN, OVERDUE, State, counted
from haulout.broker.operations.metrics import CONTENT_TYPE, Metrics, Reading
from haulout.broker.operations.upkeep import Upkeep
from haulout.broker.protocol import Rejected, Trouble
from haulout.errors import HauloutError
from haulout.http import Client, HttpOptions

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from haulout.broker.audit import Row
    from haulout.broker.operations.guard import App
    from haulout.broker.stores import Store

_DECISIONS: Final = logging.getLogger("haulout.broker.decision")
_READ_EACH: Final = 60.0
"""Seconds between two looks into the database for metrics: with 10,000 machines and 200,000 rows one took 3.7 seconds,
on two cores at a load of 12."""
PROBE: Final = b"haulout broker: is the key-encryption key at hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a broker is operated.

    Attributes:
        cache: the folder of certificates and collateral.
        offline: whether nothing is fetched.
        services: where vendors are.
        per_client, per_workload: limits of requests and of releases.
        metrics_token: what Prometheus has to send as a bearer token; None: there are no metrics.
        overdue: after how long without success a machine is overdue.
        evidence_days: how long evidence is kept.
        forwarded: whether the address of a client is what a proxy wrote into X-Forwarded-For.
    """

    cache: Path
    offline: bool = False
    services: Services = field(default_factory=Services)
    per_client: Limit = PER_CLIENT
    per_workload: Limit = PER_WORKLOAD
    metrics_token: str | None = field(default=None, repr=False)
    overdue: timedelta = OVERDUE
    evidence_days: float = 90
    forwarded: bool = False


class Running:
    """What runs beside the application; use it in a ``with`` block, in which the threads run.

    Args:
        store: of the broker.
        options: how it is operated.
    """

    def __init__(self, store: Store, options: Options) -> None:
        self._store, self._options = store, options
        self._client = Client(HttpOptions(attempts=2))
        self._cache = Cache(options.cache, trusted=self._test_roots)
        fetching = (
            None
            if options.offline
            else Refresher(
                lambda one: fetch(one, self._cache, self._client, options.services),
                lambda: self._cache.entries(renewed=True),
                clock=_now,
                monotonic=time.monotonic,
            )
        )
        self._refresher = fetching
        self.supply = Supply(self._cache, options.services, fetching)
        self._upkeep = Upkeep(store, self.supply, evidence_days=options.evidence_days, now=_now)
        self._read: tuple[float, Reading] | None = None
        self.metrics = Metrics(self._reading, lambda: () if fetching is None else fetching.entries, clock=_now)
        self._limits = Limits(Limiter(options.per_client), Limiter(options.per_workload))
        self._ready = Readiness(
            {
                "database": self._check_database,
                "kek": self._check_kek,
                "signing-key": self._check_signing_key,
                "audit": self._check_audit,
            },
            time.monotonic,
        )

    def __enter__(self) -> Self:
        self._store.committed = self._decided
        self._store.failed = self.metrics.database_errors.inc
        self._upkeep.start()
        if self._refresher is not None:
            self._refresher.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._upkeep.close()
        if self._refresher is not None:
            self._refresher.close()
        self._client.close()

    def routes(self) -> list[Route]:
        """Return the console, health, readiness and metrics."""
        console = Console(self._store, overdue=self._options.overdue, forecast=self._upkeep.forecast)
        return [
            Route("/healthz", _healthz, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            *console.routes(),
        ]

    def guarded(self, app: App) -> Guard:
        """Return the application with the guard before it."""
        return Guard(
            app,
            limits=self._limits,
            metrics=self.metrics,
            monotonic=time.monotonic,
            forwarded=self._options.forwarded,
        )

    def admit(self, workload: str) -> None:
        """Count a request for a workload's key.

        Raises:
            Rejected: there are too many.
        """
        self._limits.require("workload", workload, self.metrics, time.monotonic())

    def _decided(self, row: Row) -> None:
        entry = row.entry
        self.metrics.decided(entry.event, entry.decision, entry.rule, entry.tee)
        facts = {name: getattr(entry, name) for name in _FACTS}
        _DECISIONS.info("decided", extra={**facts, "reason": entry.words, "audit": row.number})

    async def _readyz(self, _: Request) -> Response:
        checks = await run_in_threadpool(self._ready.ask)
        ready = all(checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)

    async def _metrics(self, request: Request) -> Response:
        wanted = self._options.metrics_token
        given = request.headers.get("authorization", "").partition(" ")[2].strip()
        if wanted is None or not hmac.compare_digest(given.encode(), wanted.encode()):
            raise Rejected(Trouble.NOT_FOUND, "not found")
        return Response(await run_in_threadpool(self.metrics.text), media_type=CONTENT_TYPE)

    def _reading(self) -> Reading | None:
        now = time.monotonic()
        if self._read is None or now - self._read[0] >= _READ_EACH:
            try:
                self._read = now, self._look()
            except HauloutError:
                return None
        return self._read[1]

    def _look(self) -> Reading:
        now = _now()
        with self._store.read() as unit:
            machines = unit.overview.machines(None, now - FORGOTTEN)
            sessions, head = unit.overview.sessions(now), unit.audit.head()
        states = counted(machines, now, self._options.overdue)
        by = {state: {name: n for (name, each), n in states.items() if each is state} for state in State}
        return Reading(sessions, head.number, by[State.OVERDUE], by[State.REFUSED])

    def _test_roots(self) -> frozenset[str]:
        with self._store.read() as unit:
            return unit.workloads.test_roots()

    def _check_database(self) -> None:
        with self._store.read() as unit:
            unit.owners.names()

    def _check_kek(self) -> None:
        kek, wrapped = self._store.wrapper.wrap(PROBE, b"probe")
        if self._store.wrapper.unwrap(kek, wrapped, b"probe") != PROBE:
            raise HauloutError("the key-encryption key does not open what it wrapped")

    def _check_signing_key(self) -> None:
        with self._store.read() as unit:
            if not unit.signing_keys.all():
                raise HauloutError("there is no key to sign tokens")

    def _check_audit(self) -> None:
        with self._store.read() as unit:
            head = unit.audit.head()
            last = next(unit.audit.rows(after=head.number - 1, limit=1), None) if head.number else None
        if last is not None and last.hash != last.expected:
            raise HauloutError(f"row {last.number} of the audit log was changed")


_FACTS: Final = ("event", "decision", "rule", "workload", "owner", "machine", "tee", "session", "client")


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


def _now() -> datetime:
    return datetime.now(UTC)
