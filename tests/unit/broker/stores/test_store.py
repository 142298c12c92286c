"""Tables: transactions, one answer to a nonce, one chain of rows, backups. With SQLite and PostgreSQL."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from tests.support.brokers import PATH, POLICY, SECRET, Guest, broker_of, keyring, register, stored

from haulout.broker.audit import Entry, verify_log
from haulout.broker.policy import dry_run, parse
from haulout.broker.protocol import Rejected, Request
from haulout.broker.sessions import Session
from haulout.broker.stores import InvalidBackup, SealError, Store, StoreError, Taken, Unknown
from haulout.broker.stores.tables import metadata
from haulout.errors import UsageError

NOW = datetime(2026, 6, 1, 12, 0, 0, 123000, tzinfo=UTC)


def entry(words):
    return Entry("2026-06-01T12:00:00Z", "test", "allowed", "allowed", words)


def test_migrations_make_the_tables_that_the_code_has(store):
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    store.migrate()  # again: nothing to do
    store.require_current()


def test_tables_of_a_later_version_are_refused(store):
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for action in (store.migrate, store.require_current):
        with pytest.raises(StoreError, match="later version"):
            action()


def test_a_database_without_tables_says_what_to_do(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/empty.db", keyring())
    with pytest.raises(StoreError) as found:
        store.require_current()
    assert "broker init" in (found.value.hint or "")
    store.close()


@pytest.mark.parametrize(
    "url", ["", "x", "mysql://a/b", "sqlite://", "sqlite:///:memory:", "postgresql+asyncpg://x", "://"]
)
def test_urls_that_name_no_database(url):
    if url.startswith("postgresql"):
        Store(url, keyring()).close()  # whichever driver is named, ours is used
        return
    with pytest.raises(UsageError):
        Store(url, keyring())


def test_a_password_in_the_url_is_in_no_error():
    store = Store("postgresql://someone:secret-password@127.0.0.1:1/x?connect_timeout=1", keyring())
    with pytest.raises(StoreError) as found:
        store.require_current()
    assert "secret-password" not in str(found.value)
    store.close()


def test_a_transaction_that_fails_leaves_nothing(store):
    def fail():
        with store.write() as unit:
            unit.workloads.add("w", "alice", NOW)
            unit.audit.append(entry("never"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.read() as unit:
        assert unit.workloads.all() == []
        assert unit.audit.count() == 0


def test_of_many_answers_to_one_challenge_one_is_kept(store):
    register(store)
    broker, guest = broker_of(store), Guest()
    cookie, challenge = broker.auth(Request("snp"), "")
    answer = guest.answer(challenge)
    barrier = threading.Barrier(8)

    def attest(_):
        barrier.wait()
        try:
            return broker_of(store).attest(cookie, answer, "")
        except Rejected:
            return None

    with ThreadPoolExecutor(8) as pool:
        tokens = [token for token in pool.map(attest, range(8)) if token]
    assert len(tokens) == 1
    with store.read() as unit:
        assert [row.entry.decision for row in unit.audit.rows() if row.entry.event == "attest"] == ["allowed"]


def test_rows_appended_at_the_same_time_are_one_chain(store):
    def append(number):
        for each in range(10):
            with store.write() as unit:
                unit.audit.append(entry(f"{number} {each}"))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(append, range(6)))
    with store.read() as unit:
        rows = list(unit.audit.rows())
        assert [row.number for row in unit.audit.rows(after=55)] == [56, 57, 58, 59, 60]
        assert len(list(unit.audit.rows(limit=7))) == 7
    assert len(rows) == 60
    assert verify_log(rows).whole


def test_releases_at_the_same_time_do_not_exceed_their_number(store):
    limited = POLICY + b"\n"
    register(store, policy=limited.replace(b"[release]\n", b"[release]\nreleases = 3\n"))
    broker = broker_of(store)
    sessions = [(guest, guest.attest(broker)[0]) for guest in (Guest() for _ in range(6))]

    def release(one):
        guest, cookie = one
        try:
            return guest.key.decrypt(broker_of(store).release(cookie, None, PATH, ""))
        except Rejected:
            return None

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(release, sessions))
    assert found.count(SECRET) == 3
    with store.read() as unit:
        assert unit.workloads.get("w1").releases == 3


def test_sessions_come_back_as_they_were_kept_and_are_forgotten(store):
    session = Session.begin(Request("tdx", ("sha512",), "w"), "cookie", "nonce", NOW, "::1")
    with store.write() as unit:
        unit.attestations.open(session)
    with store.read() as unit:
        assert unit.attestations.find(id=session.id) == session
        assert unit.attestations.find(public=session.public) == session
        assert unit.attestations.find(id="other") is None
    with store.write() as unit:
        assert unit.attestations.forget(NOW + timedelta(minutes=4)) == 0
        assert unit.attestations.forget(NOW + timedelta(minutes=6)) == 1
        assert unit.attestations.find(id=session.id) is None


def test_what_decided_is_recorded_and_can_be_decided_again(store):
    register(store)
    Guest().fetch(broker_of(store))
    with store.read() as unit:
        (found,) = unit.attestations.recorded("2026-01-01T00:00:00Z", workload="w1", owner="alice")
        assert list(unit.attestations.recorded("2026-01-01T00:00:00Z", owner="bob")) == []
        assert list(unit.attestations.recorded("2126-01-01T00:00:00Z")) == []
    (again,) = dry_run(parse(POLICY), [found])
    assert (found.rule, again.decision.rule, again.changed) == ("allowed", "allowed", False)


def test_names_are_taken_once_and_unknown_ones_are_told(store):
    with store.write() as unit:
        unit.workloads.add("w", "alice", NOW)
        for owner in ("alice", "bob"):
            with pytest.raises(Taken):
                unit.workloads.add("w", owner, NOW)
        with pytest.raises(Taken):
            unit.owners.add("alice", NOW)
        unit.owners.credit("alice", "d" * 64, "token", NOW)
        with pytest.raises(Taken):
            unit.owners.credit("bob", "d" * 64, "token", NOW)
        with pytest.raises(Unknown):
            unit.owners.credit("nobody", "e" * 64, "token", NOW)
        with pytest.raises(Unknown):
            unit.workloads.get("w", "bob")
        assert unit.owners.of_credential("d" * 64) == "alice"
        assert unit.owners.revoke("alice") == 1
        assert unit.owners.of_credential("d" * 64) is None


def backed_up(store):
    out = io.BytesIO()
    assert store.backup(out) > 0
    return out.getvalue()


def nothing(unit):
    del unit


def test_a_backup_fills_another_database(store, tmp_path):
    register(store)
    Guest().fetch(broker_of(store))
    data = backed_up(store)
    assert SECRET not in data
    with stored(f"sqlite:///{tmp_path}/other.db") as other:
        with other.engine.begin() as connection:
            connection.execute(text("DELETE FROM owners"))
        other.restore(io.BytesIO(data), nothing)
        assert backed_up(other) == data
        assert Guest().fetch(broker_of(other)) == SECRET
        with other.read() as unit:
            assert verify_log(unit.audit.rows()).whole
        with pytest.raises(StoreError, match="already"):
            other.restore(io.BytesIO(data), nothing)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: lines[:3] + lines[4:],
        lambda lines: [*lines, lines[-1]],
        lambda lines: lines[1:],
        lambda lines: [lines[0].replace(b"0001", b"0002"), *lines[1:]],
        lambda lines: [*lines[:2], b'{"table":"sessions","row":[]}\n', *lines[2:]],
        lambda lines: [*lines[:2], b"x\n", *lines[2:]],
        lambda lines: [],
    ],
    ids=range(8),
)
def test_a_backup_that_is_not_whole_fills_nothing(tmp_path, change):
    with stored(f"sqlite:///{tmp_path}/a.db") as store, stored(f"sqlite:///{tmp_path}/b.db") as other:
        register(store)
        lines = backed_up(store).splitlines(keepends=True)
        with other.engine.begin() as connection:
            connection.execute(text("DELETE FROM owners"))
        before = backed_up(other)
        with pytest.raises(InvalidBackup):
            other.restore(change(lines), nothing)
        assert backed_up(other) == before


def test_a_resource_moved_into_the_place_of_another_does_not_open(store):
    register(store)
    register(store, "w2", path=type(PATH)("default", "key", "2"), owner="bob")
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE resources SET workload = 'w2' WHERE workload = 'w1'"))
    with store.read() as unit:
        found = unit.resources.find(PATH)
        with pytest.raises(SealError):
            unit.resources.open(found)


def test_nothing_secret_stands_in_the_tables(tmp_path):
    with stored(f"sqlite:///{tmp_path}/broker.db") as store:
        register(store)
        broker, guest = broker_of(store), Guest()
        cookie, token = guest.attest(broker)
        broker.release(cookie, None, PATH, "")
        with store.read() as unit:
            pem = unit.signing_keys.all()[0].to_pem()
    files = b"".join(each.read_bytes() for each in tmp_path.glob("broker.db*"))
    for secret in (SECRET, cookie.encode(), token.encode(), pem.splitlines()[1]):
        assert secret not in files
