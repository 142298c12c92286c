"""What operators look at, from both databases."""

from datetime import timedelta

from tests.support.broker_records import NOW, chip, fill

from haulout.broker.stores import Store


def test_each_machine_is_there_once_with_its_last_attempt_and_last_success(store: Store):
    fill(store)
    with store.read() as unit:
        found = {(one.workload, one.machine): one for one in unit.overview.machines(None, NOW - timedelta(days=90))}
        assert len(found) == 15
        refused = found["payments", chip(9)]
        assert refused.last.entry.decision == "refused"
        assert refused.succeeded == "2026-05-23T18:00:00Z"
        assert found["web-frontend", chip(0)].succeeded == "2026-06-01T11:00:00Z"
        assert found["experiment", chip(14)].succeeded is None
        assert {one.workload for one in unit.overview.machines("lab", NOW - timedelta(days=90))} == {"experiment"}
        assert len(unit.overview.machines(None, NOW - timedelta(days=90), workload="payments")) == 4
        assert len(unit.overview.machines(None, NOW - timedelta(hours=2.5))) == 4 + 2
        newest = unit.overview.newest(None, limit=5)
        assert [row.number for row in newest] == sorted((row.number for row in newest), reverse=True)
        assert all(row.entry.decision == "refused" for row in unit.overview.newest(None, refused=True, limit=50))
        assert unit.overview.sessions(NOW) == 0
