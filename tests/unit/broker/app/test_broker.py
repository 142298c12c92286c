"""Challenge, attestation, release: who gets a key, who does not, and what is recorded. Without HTTP."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from tests.support.brokers import PATH, POLICY, SECRET, Guest, broker_of, host_data, register, stored
from tests.support.workload_policies import bound, document

from haulout.broker.app import broker as module
from haulout.broker.app import judging
from haulout.broker.audit import verify_log
from haulout.broker.protocol import Attestation, Challenge, PrivateKey, Rejected, Request, ResourcePath, Trouble
from haulout.broker.stores import StoreError
from haulout.emulator.snp import SnpState


@pytest.fixture
def store(tmp_path):
    with stored(f"sqlite:///{tmp_path}/broker.db") as found:
        yield found


def rows(store):
    with store.read() as unit:
        return list(unit.audit.rows())


@contextmanager
def rejected(trouble):
    with pytest.raises(Rejected) as found:
        yield found
    assert found.value.trouble is trouble


def test_a_genuine_guest_gets_its_key_and_each_decision_has_a_row(store):
    register(store)
    assert Guest().fetch(broker_of(store)) == SECRET
    attest, release = rows(store)[-2:]
    assert (attest.entry.event, attest.entry.decision) == ("attest", "allowed")
    assert (release.entry.event, release.entry.decision, release.entry.rule) == ("release", "allowed", "allowed")
    assert (release.entry.workload, release.entry.owner, release.entry.resource) == ("w1", "alice", str(PATH))
    assert release.entry.machine.startswith("snp:")
    assert release.entry.client == "192.0.2.1"
    assert verify_log(rows(store)).whole


def test_the_token_is_as_good_as_the_cookie(store):
    register(store)
    broker, guest = broker_of(store), Guest()
    _, token = guest.attest(broker)
    assert guest.key.decrypt(broker.release(None, token, PATH, "")) == SECRET


def test_any_instance_serves_any_step(store):
    register(store)
    first, second, third = (broker_of(store) for _ in range(3))
    guest = Guest()
    cookie, challenge = first.auth(Request("snp"), "")
    token = second.attest(cookie, guest.answer(challenge), "")
    assert guest.key.decrypt(third.release(cookie, None, PATH, "")) == SECRET
    assert guest.key.decrypt(first.release(None, token, PATH, "")) == SECRET


def test_a_guest_that_says_which_workload_it_is_is_judged_when_it_attests(store):
    register(store)
    assert Guest().fetch(broker_of(store), workload="w1") == SECRET
    with rejected(Trouble.ATTEST_FAILED):
        Guest(SnpState(host_data=bytes(32))).attest(broker_of(store), "w1")
    assert rows(store)[-1].entry.rule == "workload"


@pytest.mark.parametrize("workload", [None, "w2"])
def test_the_evidence_of_one_workload_gets_no_key_of_another(store, workload):
    register(store)
    other = ResourcePath("default", "key", "2")
    register(store, "w2", policy=document(snp_section=bound(2)), path=other, owner="bob")
    broker, guest = broker_of(store), Guest()
    if workload is not None:
        with rejected(Trouble.ATTEST_FAILED):
            guest.attest(broker, workload)
        return
    cookie, _ = guest.attest(broker)
    with rejected(Trouble.NOT_FOUND):
        broker.release(cookie, None, other, "")
    assert (rows(store)[-1].entry.rule, rows(store)[-1].entry.workload) == ("workload", "w2")
    assert guest.key.decrypt(broker.release(cookie, None, PATH, "")) == SECRET


def test_a_session_of_one_workload_gets_nothing_of_another_that_its_evidence_satisfies_too(store):
    register(store)
    other = ResourcePath("default", "key", "2")
    register(store, "w2", path=other)
    broker, guest = broker_of(store), Guest()
    cookie, _ = guest.attest(broker, "w1")
    with rejected(Trouble.NOT_FOUND):
        broker.release(cookie, None, other, "")


def test_what_is_not_there_and_what_is_not_given_is_answered_alike(store):
    register(store, policy=document(snp_section=bound(2)))
    broker, guest = broker_of(store), Guest()
    cookie, _ = guest.attest(broker)
    with rejected(Trouble.NOT_FOUND) as unknown:
        broker.release(cookie, None, ResourcePath("no", "such", "thing"), "")
    with rejected(Trouble.NOT_FOUND) as refused:
        broker.release(cookie, None, PATH, "")
    assert unknown.value.detail == refused.value.detail
    with rejected(Trouble.ATTEST_FAILED) as nobody:
        guest.attest(broker, "no such workload")
    with rejected(Trouble.ATTEST_FAILED) as other:
        guest.attest(broker, "w1")
    assert nobody.value.detail.partition(" session ")[0] == other.value.detail.partition(" session ")[0]


def test_a_workload_without_a_policy_gives_no_key(store):
    management = register(store)
    management.remove("w1")
    management.add("w1")
    management.put("w1", PATH, SECRET)
    cookie, _ = _attested(store, trusting="w2")
    with rejected(Trouble.NOT_FOUND):
        broker_of(store).release(cookie, None, PATH, "")


def _attested(store, trusting):
    register(store, trusting, path=ResourcePath("other", "key", "1"))
    return Guest().attest(broker_of(store))


def test_evidence_of_an_emulator_counts_only_where_a_policy_says_so(store):
    with rejected(Trouble.ATTEST_FAILED):
        Guest().attest(broker_of(store))
    assert rows(store)[-1].entry.rule == "test-root"


@pytest.mark.parametrize(
    ("tamper", "rule"),
    [
        (lambda report: report[:0x90] + bytes([report[0x90] ^ 1]) + report[0x91:], "signature"),
        (lambda report: report[:0x50] + bytes(64) + report[0x90:], "signature"),
        (lambda report: report[:0x2A0] + bytes(512), "signature-encoding"),
    ],
)
def test_evidence_that_was_changed_is_refused(store, tamper, rule):
    register(store)
    with rejected(Trouble.ATTEST_FAILED):
        Guest(tamper=tamper).attest(broker_of(store))
    assert (rows(store)[-1].entry.decision, rows(store)[-1].entry.rule) == ("refused", rule)


def test_evidence_for_another_nonce_or_key_or_hash_is_refused(store):
    register(store)
    broker, guest = broker_of(store), Guest()

    def answers(change):
        cookie, challenge = broker.auth(Request("snp", ("sha384", "sha512")), "")
        return cookie, change(challenge)

    other = PrivateKey.generate().public
    for change in (
        lambda challenge: _resigned(guest.answer(Challenge("AAAA", challenge.hash)), nonce=challenge.nonce),
        lambda challenge: _resigned(guest.answer(challenge), key=other),
        lambda challenge: guest.answer(Challenge(challenge.nonce, "sha512")),
    ):
        cookie, answer = answers(change)
        with rejected(Trouble.ATTEST_FAILED):
            broker.attest(cookie, answer, "")
        assert rows(store)[-1].entry.rule == "report-data"


def _resigned(answer, *, nonce=None, key=None):
    return Attestation(nonce or answer.nonce, key or answer.key, answer.evidence)


def test_a_nonce_is_answered_once(store):
    register(store)
    broker, guest = broker_of(store), Guest()
    cookie, challenge = broker.auth(Request("snp"), "")
    broker.attest(cookie, guest.answer(challenge), "")
    with rejected(Trouble.ATTEST_FAILED):
        broker.attest(cookie, guest.answer(challenge), "")
    # Nor may a guest that attested change its key.
    with rejected(Trouble.ATTEST_FAILED):
        broker.attest(cookie, Guest().answer(challenge), "")


def test_a_refused_answer_uses_the_nonce_up(store):
    register(store)
    broker = broker_of(store)
    cookie, challenge = broker.auth(Request("snp"), "")
    with rejected(Trouble.ATTEST_FAILED):
        broker.attest(cookie, Guest(tamper=lambda report: report[:-512] + bytes(512)).answer(challenge), "")
    with rejected(Trouble.ATTEST_FAILED):
        broker.attest(cookie, Guest().answer(challenge), "")
    with rejected(Trouble.NO_SESSION):
        broker.release(cookie, None, PATH, "")


def test_a_nonce_of_another_session_is_refused(store):
    register(store)
    broker = broker_of(store)
    cookie, _ = broker.auth(Request("snp"), "")
    _, challenge = broker.auth(Request("snp"), "")
    with rejected(Trouble.ATTEST_FAILED):
        broker.attest(cookie, Guest().answer(challenge), "")


def test_no_key_before_attesting_or_without_a_session(store):
    register(store)
    broker = broker_of(store)
    cookie, _ = broker.auth(Request("snp"), "")
    for name, token in ((cookie, None), ("other", None), (None, "a.b.c"), (None, None), ("", "")):
        with rejected(Trouble.NO_SESSION):
            broker.release(name, token, PATH, "")


def test_sessions_and_tokens_expire(store):
    register(store)
    moment = [datetime.now(UTC)]
    broker, guest = broker_of(store, lambda: moment[0]), Guest()
    cookie, challenge = broker.auth(Request("snp"), "")
    moment[0] += timedelta(minutes=5, seconds=1)
    with rejected(Trouble.NO_SESSION):
        broker.attest(cookie, guest.answer(challenge), "")
    cookie, token = guest.attest(broker)
    moment[0] += timedelta(minutes=5, seconds=1)
    for name, bearer in ((cookie, None), (None, token)):
        with rejected(Trouble.NO_SESSION):
            broker.release(name, bearer, PATH, "")
    moment[0] -= timedelta(hours=1)
    with rejected(Trouble.NO_SESSION):
        broker.release(cookie, None, PATH, "")


def test_an_unknown_tee_and_a_tee_that_it_is_not(store):
    register(store)
    broker = broker_of(store)
    with rejected(Trouble.AUTH_FAILED):
        broker.auth(Request("sample"), "")
    cookie, challenge = broker.auth(Request("tdx"), "")
    with rejected(Trouble.ATTEST_FAILED):
        broker.attest(cookie, Guest().answer(challenge), "")


def test_additional_evidence_that_nobody_verifies_is_refused(store):
    register(store)
    broker, guest = broker_of(store), Guest()
    cookie, challenge = broker.auth(Request("snp"), "")
    answer = guest.answer(challenge)
    with rejected(Trouble.ATTEST_FAILED):
        broker.attest(cookie, Attestation(answer.nonce, answer.key, answer.evidence, '{"nvidia":{}}'), "")


def test_releases_are_counted_and_bounded(store):
    register(store, policy=document(snp_section=bound(), release="releases = 2"))
    broker = broker_of(store)
    for _ in range(2):
        assert Guest().fetch(broker) == SECRET
    with rejected(Trouble.NOT_FOUND):
        Guest().fetch(broker)
    assert rows(store)[-1].entry.rule == "releases"


def test_a_new_policy_counts_at_once_also_for_sessions_that_attested(store):
    management = register(store)
    broker, guest = broker_of(store), Guest()
    cookie, _ = guest.attest(broker)
    management.set_policy("w1", document(snp_section=bound(2)))
    with rejected(Trouble.NOT_FOUND):
        broker.release(cookie, None, PATH, "")
    management.set_policy("w1", POLICY)
    assert guest.key.decrypt(broker.release(cookie, None, PATH, "")) == SECRET


@pytest.mark.parametrize("change", ["remove_resource", "put", "set_policy"])
def test_what_is_changed_between_judgement_and_release_does_not_leave(store, monkeypatch, change):
    management = register(store)
    broker, guest = broker_of(store), Guest()
    cookie, _ = guest.attest(broker)
    rest = {"remove_resource": (PATH,), "put": (PATH, b"another"), "set_policy": (POLICY,)}
    judge = judging.judge

    def judged(*arguments):
        getattr(management, change)("w1", *rest[change])
        return judge(*arguments)

    monkeypatch.setattr(module, "judge", judged)
    before = len(rows(store))
    with rejected(Trouble.UNAVAILABLE):
        broker.release(cookie, None, PATH, "")
    assert "release" not in {one.entry.event for one in rows(store)[before:]}


def test_the_evidence_of_another_that_was_sent_before_is_in_nobodys_way(store):
    register(store)
    broker, guest, thief = broker_of(store), Guest(), Guest()
    cookie, challenge = broker.auth(Request("snp"), "")
    answer = guest.answer(challenge)
    stolen, theirs = broker.auth(Request("snp", workload="w1"), "")
    with rejected(Trouble.ATTEST_FAILED):
        evidence = answer.parse_evidence("snp")
        broker.attest(stolen, Attestation.of(theirs, "snp", thief.key.public, evidence), "")
    broker.attest(cookie, answer, "")
    assert guest.key.decrypt(broker.release(cookie, None, PATH, "")) == SECRET


def test_a_stranger_does_not_fill_the_database(store):
    register(store)
    broker = broker_of(store)
    with rejected(Trouble.ATTEST_FAILED):
        Guest().attest(broker, "not-there")
    assert rows(store)[-1].entry.decision == "refused"
    with store.read() as unit:
        assert unit.attestations.proof(rows(store)[-1].entry.evidence) is None


def test_only_guests_that_may_have_a_key_use_up_its_limit(store):
    register(store)
    other = ResourcePath("default", "key", "2")
    register(store, "w2", policy=document(snp_section=bound(2)), path=other, owner="bob")
    broker, guest = broker_of(store), Guest()
    asked: list[str] = []
    broker.admit = asked.append
    cookie, _ = guest.attest(broker)
    with rejected(Trouble.NOT_FOUND):
        broker.release(cookie, None, other, "")
    assert asked == []
    broker.release(cookie, None, PATH, "")
    assert asked == ["w1"]


@pytest.mark.parametrize("statement", ["INSERT INTO audit", "UPDATE workloads", "COMMIT"])
def test_no_key_leaves_where_the_database_fails(store, statement):
    register(store)
    broker, guest = broker_of(store), Guest()
    cookie, _ = guest.attest(broker)
    before = rows(store)

    def fail(connection, cursor, text, *rest):
        if text.startswith(statement):
            raise OperationalError(text, None, Exception("disk I/O error"))

    def fail_commit(connection):
        raise OperationalError("COMMIT", None, Exception("disk I/O error"))

    name, listener = ("commit", fail_commit) if statement == "COMMIT" else ("before_cursor_execute", fail)
    event.listen(store.engine, name, listener)
    try:
        with pytest.raises(StoreError, match="disk I/O error"):
            broker.release(cookie, None, PATH, "")
    finally:
        event.remove(store.engine, name, listener)
    assert rows(store) == before
    assert guest.key.decrypt(broker.release(cookie, None, PATH, "")) == SECRET


def test_the_host_data_of_the_support_module_is_that_of_the_policies():
    assert host_data().hex() in POLICY.decode()
