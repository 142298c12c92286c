"""What is done about an update by itself: every rule, and turns that are spread evenly."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haulout.errors import UsageError
from haulout.machine.update.policy import Action, Offer, decide, is_turn, turns, valid_window
from haulout.machine.update_settings import Policy, Severity, Update, within

NOON = datetime(2026, 3, 4, 12, 0)  # noqa: DTZ001 - local, as windows are
NIGHT = NOON.replace(hour=3)
ID = "8b1b3a2e-0000-4000-8000-000000000001"
NEW = Offer("sha256:1", "sha256:2")


def wanted(**changes):
    return Update(**{"policy": Policy.APPLY, "window": "02:00-05:00", **changes})


def offer(**changes):
    return Offer("sha256:1", "sha256:2", **changes)


SEEN_BY = {
    "current": (wanted(), NIGHT, Offer("sha256:1", "sha256:1"), "", Action.NOTHING, False, "runs the newest"),
    "bad": (wanted(), NIGHT, offer(bad="no ssh", staged=True), "", Action.NOTHING, False, "undone here before: no ssh"),
    "pin": (wanted(pin=True), NIGHT, offer(staged=True, severity=Severity.CRITICAL), "", Action.NOTIFY, True, "pinned"),
    "notify": (wanted(policy=Policy.NOTIFY), NIGHT, offer(staged=True), "", Action.NOTIFY, True, "its user says so"),
    "too mild": (
        wanted(min_severity=Severity.HIGH), NIGHT, offer(severity=Severity.MEDIUM), "", Action.NOTIFY, True,
        "fixes nothing worse than medium, and this machine waits for high",
    ),
    "unrated": (wanted(min_severity=Severity.MEDIUM), NIGHT, offer(), "", Action.NOTIFY, True, "nobody has rated"),
    "unrated, but all are wanted": (wanted(), NIGHT, offer(), "", Action.STAGE, True, "it is fetched"),
    "bad enough": (
        wanted(min_severity=Severity.HIGH), NIGHT, offer(severity=Severity.CRITICAL), "in use", Action.STAGE, True,
        "it is fetched",
    ),
    "outside": (wanted(), NOON, offer(), "", Action.STAGE, False, "fetched within 02:00-05:00"),
    "no window": (wanted(window=""), NOON, offer(), "", Action.STAGE, True, "it is fetched"),
    "staged is enough": (wanted(policy=Policy.STAGE), NIGHT, offer(staged=True), "", Action.NOTIFY, True, "waits for"),
    "apply later": (wanted(), NOON, offer(staged=True), "", Action.APPLY, False, "applied within"),
    "in use": (wanted(), NIGHT, offer(staged=True), "2 shells", Action.APPLY, False, "uses the machine: 2 shells"),
    "apply": (wanted(), NIGHT, offer(staged=True), "", Action.APPLY, True, "nobody uses"),
}  # fmt: skip


@pytest.mark.parametrize("case", SEEN_BY)
def test_the_rules(case):
    update, now, found, use, action, due, why = SEEN_BY[case]
    decided = decide(update, ID, now, found, use)
    assert (decided.action, decided.due) == (action, due)
    assert why in decided.why
    assert "\n" not in decided.why


def test_what_waits_says_until_when():
    assert decide(wanted(), ID, NOON, offer(staged=True), "").when == NIGHT.replace(hour=2) + timedelta(days=1)
    fetched = decide(wanted(), ID, NOON, NEW, "").when
    assert fetched == turns(ID, "02:00-05:00", NOON)[1]
    assert decide(wanted(), ID, NOON, NEW, "", at_once=True).due


times = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001 - as above
minutes = st.integers(0, 1439)


@given(times, minutes, st.integers(30, 1439), st.uuids())
def test_a_turn_is_always_within_the_window_and_once_a_day(now, begin, length, machine):
    end = (begin + length) % 1440
    window = f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    last, following = turns(str(machine), window, now)
    assert last <= now < following
    assert following - last == timedelta(days=1)
    assert within(window, last.time())
    assert turns(str(machine), window, following) == (following, following + timedelta(days=1))
    update = wanted(window=window)
    assert is_turn(update, str(machine), following, last)
    assert not is_turn(update, str(machine), following, following)
    assert is_turn(update, str(machine), now, last - timedelta(1)) is within(window, now.time())


@given(times, st.uuids())
def test_without_a_window_it_is_looked_every_six_hours(now, machine):
    last, following = turns(str(machine), "", now)
    assert last <= now < following == last + timedelta(hours=6)
    assert within("", now.time())


@settings(max_examples=25)
@given(times, minutes, minutes)
def test_a_window_holds_as_many_minutes_as_it_says(now, begin, end):
    window = f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    inside = [each for each in range(1440) if within(window, (midnight + timedelta(minutes=each)).time())]
    assert len(inside) == (end - begin) % 1440
    assert (begin in inside) is bool(inside)
    assert end not in inside


@pytest.mark.parametrize(("window", "hours"), [("22:00-06:00", 6.0), ("", 6.0)])
def test_ten_thousand_machines_do_not_come_at_once(window, hours):
    """The busiest of 24 parts of the time has at most 1.2 times the usual number of machines."""
    known = [str(uuid.uuid5(uuid.NAMESPACE_DNS, f"machine {number}")) for number in range(10_000)]
    begin = NOON.replace(hour=22) - timedelta(days=1) if window else NOON.replace(hour=6)
    parts = Counter(
        int((turns(each, window, NOON - timedelta(microseconds=1))[0] - begin) / timedelta(hours=hours / 24))
        for each in known
    )
    assert set(parts) == set(range(24))
    assert max(parts.values()) <= 1.2 * len(known) / 24
    assert [turns(each, window, NOON) for each in known] == [turns(each, window, NOON) for each in known]


def test_a_clock_that_was_wrong_ends_no_updates():
    assert is_turn(Update(), "web", datetime(2026, 11, 27, 3), datetime(2030, 1, 1))  # noqa: DTZ001 - local, as windows are


def test_a_window_that_is_none_or_too_short_is_refused():
    assert [valid_window(each) for each in ("", "23:45-00:15")] == ["", "23:45-00:15"]
    for wrong in ("2-5", "02:00", "02:00-02:29", "02:00-02:00", "24:00-01:00"):
        with pytest.raises(UsageError):
            valid_window(wrong)
