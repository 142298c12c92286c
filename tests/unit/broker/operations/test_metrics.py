"""Metrics as Prometheus reads them, and readiness."""

from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families
from tests.support.evidence import AT

from haulout.broker.operations.collateral import Entry
from haulout.broker.operations.health import Readiness
from haulout.broker.operations.metrics import Metrics, Reading
from haulout.errors import HauloutError
from haulout.tee import Span


def reading():
    return Reading(sessions=7, audit_rows=12, overdue={"web": 2, 'a"b': 1}, refused={"web": 3})


def samples(metrics):
    families = text_string_to_metric_families(metrics.text().decode())
    return {(one.name, *sorted(one.labels.values())): one.value for each in families for one in each.samples}


def test_what_is_counted_and_what_is_read_when_asked():
    kept = (
        Entry(
            "intel/root-crl.json", None, Span(AT - timedelta(days=3), AT + timedelta(days=2)), AT - timedelta(days=1)
        ),
        Entry("amd/Genoa/vcek/crl.der", None, None, AT, "expired"),
    )
    metrics = Metrics(reading, lambda: kept, clock=lambda: AT)
    metrics.decided("release", "refused", "measurement", "snp")
    metrics.decided("release", "refused", "measurement", "snp")
    metrics.decided("attest", "allowed", "allowed", None)
    metrics.database_errors.inc()
    found = samples(metrics)
    assert found["haulout_broker_decisions_total", "measurement", "refused", "release", "snp"] == 2
    assert found["haulout_broker_decisions_total", "", "allowed", "allowed", "attest"] == 1
    assert found["haulout_broker_database_errors_total",] == 1
    assert found["haulout_broker_sessions",] == 7
    assert found["haulout_broker_audit_rows",] == 12
    assert found["haulout_broker_overdue_machines", "web"] == 2
    assert found["haulout_broker_overdue_machines", 'a"b'] == 1
    assert found["haulout_broker_refused_machines", "web"] == 3
    assert found["haulout_broker_collateral_age_seconds", "intel/root-crl.json"] == 86400
    assert found["haulout_broker_collateral_valid_seconds", "intel/root-crl.json"] == 2 * 86400
    assert found["haulout_broker_collateral_valid_seconds", "amd/Genoa/vcek/crl.der"] == -1


def test_without_a_database_the_rest_is_there():
    found = samples(Metrics(lambda: None, clock=lambda: AT))
    assert ("haulout_broker_sessions",) not in found
    assert found["haulout_broker_database_errors_total",] == 0


def test_readiness_names_what_fails_asks_seldom_and_says_why_in_the_log_only(caplog):
    now, asked = [0.0], []

    def database():
        asked.append(now[0])
        if now[0] < 5:
            raise HauloutError("the broker's database: no connection to 10.0.0.7")

    ready = Readiness({"database": database, "kek": lambda: None}, lambda: now[0])
    assert ready.ask() == {"database": False, "kek": True}
    assert ready.ask() == {"database": False, "kek": True}
    assert asked == [0.0]
    assert caplog.records[0].__dict__["reason"].endswith("10.0.0.7")
    now[0] = 5.0
    assert ready.ask() == {"database": True, "kek": True}
