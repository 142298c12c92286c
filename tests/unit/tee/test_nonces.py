"""Nonces (case 15): reused, expired, from another session, redeemed twice at the same time."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from tests.support.evidence import AT

from haulout.tee import nonces as nonces_module
from haulout.tee.nonces import Nonces, as_report_data
from haulout.tee.verdict import Refused, Rule

NONCE = bytes(range(32))


def second(number):
    return AT + timedelta(seconds=number)


def refused(nonces, nonce=NONCE, session="one", at=AT):
    with pytest.raises(Refused) as caught:
        nonces.redeem(nonce, session, at)
    assert caught.value.refusal.rule is Rule.FRESHNESS
    return caught.value.refusal.reason


def test_a_nonce_is_redeemed_once():
    nonces = Nonces(300)
    issued = nonces.issue(NONCE, "one", AT)
    assert nonces.redeem(NONCE, "one", second(300)) == issued
    assert "used before" in refused(nonces)


def test_a_nonce_that_nobody_issued():
    assert "not known" in refused(Nonces(300))


@pytest.mark.parametrize("late", [301, 86_400, -1, -86_400])
def test_a_nonce_that_expired_or_comes_from_the_future(late):
    nonces = Nonces(300)
    nonces.issue(NONCE, "one", AT)
    assert "expired" in refused(nonces, at=second(late))
    # And it is used up by that.
    assert "used before" in refused(nonces)


@pytest.mark.parametrize("session", ["two", "", "One", "one "])
def test_a_nonce_of_another_session(session):
    nonces = Nonces(300)
    nonces.issue(NONCE, "one", AT)
    assert "another session" in refused(nonces, session=session)
    assert "used before" in refused(nonces, session="one")


def test_of_many_that_redeem_at_the_same_time_one_succeeds():
    for _ in range(20):
        nonces, barrier = Nonces(300), threading.Barrier(8)
        answers: list[bool] = []
        nonces.issue(NONCE, "one", AT)

        def redeem(nonces=nonces, barrier=barrier, answers=answers):
            barrier.wait()
            try:
                answers.append(nonces.redeem(NONCE, "one", AT) is not None)
            except Refused:
                answers.append(False)

        threads = [threading.Thread(target=redeem) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [False] * 7 + [True]


def test_nonces_that_can_be_guessed_or_are_issued_twice():
    nonces = Nonces(300)
    with pytest.raises(ValueError, match="guessed"):
        nonces.issue(bytes(15), "one", AT)
    nonces.issue(NONCE, "one", AT)
    with pytest.raises(ValueError, match="once"):
        nonces.issue(NONCE, "two", AT)


def test_who_only_asks_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(nonces_module, "MAX_PENDING", 10)
    nonces = Nonces(300)
    for number in range(10):
        nonces.issue(number.to_bytes(16, "big"), "one", second(number))
    with pytest.raises(Refused, match="too many"):
        nonces.issue(NONCE, "one", second(100))
    # Those that expired make room.
    nonces.issue(NONCE, "one", second(304))
    assert "used before" in refused(nonces, nonce=bytes(16), at=second(304))
    assert nonces.redeem((9).to_bytes(16, "big"), "one", second(304)).session == "one"


@pytest.mark.parametrize("size", [1, 32, 48, 64])
def test_a_digest_is_padded(size):
    assert as_report_data(b"\x01" * size) == b"\x01" * size + bytes(64 - size)


@pytest.mark.parametrize("size", [0, 65, 128])
def test_a_digest_is_never_cut(size):
    with pytest.raises(ValueError, match="do not fit"):
        as_report_data(b"\x01" * size)
