"""What runs beside the application: sweeps, forecasts, readiness of each part, readings for metrics."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.brokers import Guest, broker_of, register, stored
from tests.support.evidence import BOOT, DATA, snp

from haulout.broker.audit import Entry
from haulout.broker.operations.running import Options, Running
from haulout.broker.operations.upkeep import Upkeep
from haulout.broker.protocol import Request
from haulout.broker.stores import Keyring, Proof, StoreError
from haulout.emulator import TdxEmulator
from haulout.emulator.tdx import TdxState, default_info
from haulout.tee import Given, identify, stamp


@pytest.fixture
def store(tmp_path):
    with stored(f"sqlite:///{tmp_path / 'broker.db'}") as found:
        yield found


@pytest.fixture
def running(store, tmp_path):
    return Running(store, Options(cache=tmp_path / "collateral", offline=True))


def upkeep(store, running, now):
    return Upkeep(store, running.supply, evidence_days=30, now=lambda: now)


def test_a_sweep_removes_expired_sessions_and_old_evidence(store, running):
    register(store)
    broker = broker_of(store)
    Guest().attest(broker)
    for _ in range(3):
        broker.auth(Request("snp"), "192.0.2.1")
    now = datetime.now(UTC)
    with store.read() as unit:
        assert unit.overview.sessions(now) == 4
    assert upkeep(store, running, now).sweep() == 0
    assert upkeep(store, running, now + timedelta(hours=1)).sweep() == 4
    with store.read() as unit:
        assert unit.overview.sessions(now) == 0
        assert len(list(unit.attestations.recorded("2000-01-01T00:00:00Z"))) == 0
    assert upkeep(store, running, now + timedelta(days=31)).sweep() == 0


def test_a_forecast_names_the_machine_that_will_be_refused(store, running):
    management = register(store)
    guest = Guest()
    guest.fetch(broker_of(store))
    kept = upkeep(store, running, datetime.now(UTC))
    assert kept.forecast("alice") is None
    kept.foretell()
    found = kept.forecast("alice")
    assert found is not None
    assert (found.machines, found.refused) == (1, ())
    end = stamp(datetime.now(UTC) + timedelta(hours=12))
    management.set_policy("w1", later(management.policy("w1").document, end))
    kept.foretell()
    found = kept.forecast("alice")
    assert found is not None
    [line] = found.refused
    assert (line.workload, line.machine, line.rule) == ("w1", f"snp:{snp().chip_id.hex()}", "not-after")
    assert end in line.words
    assert kept.forecast("bob") is not None


def test_a_forecast_judges_by_what_intel_announces(store, running, tmp_path):
    """A platform that is up to date today, and will not be once the announced documents are in force."""
    now = datetime.now(UTC)
    platform = TdxEmulator.make(now)
    keys = {
        "mrtd": BOOT.mrtd(),
        **{f"rtmr{number}": value for number, value in enumerate(BOOT.rtmr()) if number in {1, 2}},
    }
    policy = "\n".join(
        (
            "schema = 1",
            "test = true",
            f'roots = ["{platform.root.fingerprint()}"]',
            "[tdx]",
            f'mrconfigid = ["{"ab" * 48}"]',
            *(f'{name} = ["{value.hex()}"]' for name, value in keys.items()),
        )
    )
    management = register(store, policy=policy.encode())
    quote = platform.quote(DATA, BOOT, TdxState(mrconfigid=b"\xab" * 48))
    proof = Proof(quote, DATA, (), (Given("collateral", platform.collateral(now)),))
    with store.write() as unit:
        unit.attestations.keep_evidence(proof, now, accepted=True)
        entry = {"workload": "w1", "owner": "alice", "tee": "tdx", "evidence": proof.digest}
        unit.audit.append(Entry(stamp(now), "release", "allowed", "allowed", "", **entry))
    kept = upkeep(store, running, now)
    kept.foretell()
    found = kept.forecast("alice")
    assert found is not None
    assert (found.machines, found.refused) == (1, ())
    levels = default_info(now)["tcbLevels"]
    levels[0]["tcb"]["tdxtcbcomponents"][2]["svn"] += 1
    announced = platform.collateral(now, info={"tcbLevels": levels, "tcbEvaluationDataNumber": 18})
    for early, whole in ((False, platform.collateral(now)), (True, announced)):
        parts = identify(whole, "collateral", early=early)
        for publication, data in sorted(parts, key=lambda pair: pair[0].above is not None):
            running.supply.cache.keep(publication, data)
    kept.foretell()
    found = kept.forecast("alice")
    assert found is not None
    [line] = found.refused
    assert (line.workload, line.rule) == ("w1", "tcb-status")
    assert "needs" in line.short[0]
    assert management.workload("w1").releases == 0


def later(policy, end):
    return policy.replace(b"[release]\n", f'[release]\nnot-after = "{end}"\n'.encode(), 1)


def test_committed_decisions_are_counted_and_those_that_were_not_are_not(store, running):
    register(store)
    with running:
        Guest().fetch(broker_of(store))
        entry = replace(last(store).entry, decision="refused")
        with pytest.raises(StoreError):
            write_and_fail(store, entry)
    text = running.metrics.text().decode()
    assert 'haulout_broker_decisions_total{decision="allowed",event="release",rule="allowed",tee="snp"} 1.0' in text
    assert 'decision="refused"' not in text
    assert "haulout_broker_database_errors_total 1.0" in text


def write_and_fail(store, entry):
    with store.write() as unit:
        unit.audit.append(entry)
        raise StoreError("the database is away")


def last(store):
    with store.read() as unit:
        return list(unit.audit.rows())[-1]


def checks(running):
    running._ready._known = None
    return {name for name, holds in running._ready.ask().items() if not holds}


def test_each_check_of_readiness_fails_for_its_own_reason(store, running):
    from sqlalchemy import text

    register(store)
    assert checks(running) == set()
    with store.engine.connect() as connection:
        connection.execute(text("update audit set words = 'forged' where number = (select max(number) from audit)"))
        connection.commit()
    assert checks(running) == {"audit"}
    other = store.wrapper
    store.wrapper = Keyring({"kek-2": bytes(32)})
    assert checks(running) == {"audit", "signing-key"}
    store.wrapper = other
    with store.engine.connect() as connection:
        connection.execute(text("alter table owners rename to away"))
        connection.commit()
    assert checks(running) == {"audit", "database"}


def test_sessions_and_machines_are_counted_when_asked_for(store, running):
    register(store)
    Guest().fetch(broker_of(store), workload="w1")
    text = running.metrics.text().decode()
    assert "haulout_broker_sessions 1.0" in text
    assert 'haulout_broker_overdue_machines{workload="w1"}' not in text
