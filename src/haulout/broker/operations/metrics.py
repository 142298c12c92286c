"""What a broker counts, for Prometheus. Labels have few values: no chip, no client, no session is among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from haulout.broker.operations.collateral import Entry

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read from the database: open sessions, rows of the audit log, machines by workload."""

    sessions: int
    audit_rows: int
    overdue: Mapping[str, int]
    refused: Mapping[str, int]


class Metrics:
    """The counters of one instance.

    Args:
        reading: reads the database; None where it cannot be read now, which is counted.
        kept: what the collateral cache holds that vendors renew.
        clock: the time, with a time zone.
    """

    def __init__(
        self,
        reading: Callable[[], Reading | None] = lambda: None,
        kept: Callable[[], Iterable[Entry]] = tuple,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self.registry = CollectorRegistry()
        mine = {"registry": self.registry, "namespace": "haulout_broker"}
        self.requests = Histogram(
            "request_seconds",
            "Time to answer a request.",
            ("endpoint", "method", "status"),
            buckets=_SECONDS,
            **mine,  # type: ignore[arg-type]
        )
        self.decisions = Counter(
            "decisions",
            "Decisions, each a row of the audit log.",
            ("event", "decision", "rule", "tee"),
            **mine,  # type: ignore[arg-type]
        )
        self.limited = Counter("limited", "Requests that a limit turned away.", ("limit",), **mine)  # type: ignore[arg-type]
        self.database_errors = Counter("database_errors", "Failed transactions.", **mine)  # type: ignore[arg-type]
        self.registry.register(_OnRequest(reading, kept, clock))

    def decided(self, event: str, decision: str, rule: str, tee: str | None) -> None:
        """Count a decision, once its row is committed."""
        self.decisions.labels(event, decision, rule, tee or "").inc()

    def text(self) -> bytes:
        """Return all of it in the text format of Prometheus; may wait for the database."""
        return generate_latest(self.registry)


class _OnRequest(Collector):
    """Gauges that are read when they are asked for."""

    def __init__(
        self, reading: Callable[[], Reading | None], kept: Callable[[], Iterable[Entry]], clock: Callable[[], datetime]
    ) -> None:
        self._reading, self._kept, self._clock = reading, kept, clock

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing beforehand: the database need not be there yet."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read them."""
        found = self._reading()
        if found is not None:
            yield GaugeMetricFamily("haulout_broker_sessions", "Sessions that have not expired.", found.sessions)
            yield GaugeMetricFamily("haulout_broker_audit_rows", "Rows of the audit log.", found.audit_rows)
            late, refused = "Machines whose last success is too long ago.", "Machines refused at their last attempt."
            for name, text, counts in (("overdue", late, found.overdue), ("refused", refused, found.refused)):
                family = GaugeMetricFamily(f"haulout_broker_{name}_machines", text, labels=("workload",))
                for workload, count in counts.items():
                    family.add_metric((workload,), count)
                yield family
        now = self._clock()
        age = GaugeMetricFamily(
            "haulout_broker_collateral_age_seconds", "Since a publication was fetched.", labels=("name",)
        )
        left = GaugeMetricFamily(
            "haulout_broker_collateral_valid_seconds", "Until it expires; below 0: it does not hold.", labels=("name",)
        )
        for one in self._kept():
            age.add_metric((one.name,), (now - one.fetched).total_seconds())
            left.add_metric((one.name,), -1 if one.span is None else (one.span.until - now).total_seconds())
        yield from (age, left)
