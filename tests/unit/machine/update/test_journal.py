"""The journal of updates: what is written is read, what is wrong is named, and what was cut short is decided."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.machine.test_model import MACHINE

from haulout.errors import InvalidFile
from haulout.local import wrong_file
from haulout.machine import DiskKind, Image, Journal, Step, begin_journal
from haulout.machine.update.journal import (
    Action,
    BadImage,
    Container,
    Switch,
    begin_rollback,
    decide,
    is_data_due,
    is_migrated,
    parse,
    rolled_back,
)

OLD = MACHINE.image
NEW = Image("r.example/m:6", "r.example/m@sha256:" + "b" * 64, DiskKind.RAW)
OTHER = Image("r.example/m:7", "r.example/m@sha256:" + "c" * 64, DiskKind.RAW)
AT = "2026-01-02T03:04:05+00:00"
JOURNAL = Journal(
    Step.COMMITTED, OLD, NEW, AT, "a reason", ("podman",), {"podman": (Container("0a", "db"),)}, "podman 4.3",
    "podman 5.0", 31.5, OTHER, "podman 3.0", data_kept=True, bad=(BadImage(NEW.digest, "it panicked", AT),),
)  # fmt: skip


def read(document):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse(text, wrong_file(Path("update.json")))


def test_what_is_written_is_read():
    assert read(JOURNAL.to_json().encode()) == JOURNAL


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "newer haulout"),
        ({"step": "thinking"}, "step"),
        ({"old": {}}, "old.reference"),
        ({"at": "yesterday"}, "at"),
        ({"at": "2026-01-02T03:04:05"}, "at"),
        ({"downtime": "long"}, "downtime"),
        ({"running": {"podman": [{"id": "a", "pid": 1}]}}, "running.podman[0].pid"),
        ({"more": 1}, "more"),
    ],
)
def test_a_wrong_value_is_named(change, says):
    with pytest.raises(InvalidFile) as caught:
        read(JOURNAL.to_dict() | change)
    assert says in str(caught.value)


@given(st.sampled_from(sorted(JOURNAL.to_dict())), st.none() | st.integers() | st.text() | st.lists(st.none()))
def test_no_value_breaks_the_parser(key, value):
    with contextlib.suppress(InvalidFile):
        read(JOURNAL.to_dict() | {key: value})


@pytest.mark.parametrize(
    ("step", "active", "running", "action"),
    [
        (Step.STAGING, OLD, False, Action.NOTHING),
        (Step.STAGED, OLD, True, Action.NOTHING),
        (Step.DUE, OLD, False, Action.TRY),
        (Step.DUE, OLD, True, Action.NOTHING),
        (Step.STOPPING, OLD, True, Action.CLOSE),
        (Step.STOPPING, OLD, False, Action.CLOSE),
        (Step.TRYING, OLD, True, Action.UNDO),
        (Step.TRYING, OLD, False, Action.UNDO),
        (Step.TRYING, NEW, True, Action.COMMIT),
        (Step.UNDOING, OLD, False, Action.UNDO),
        (Step.COMMITTED, NEW, True, Action.NOTHING),
        (Step.COMMITTED, OLD, False, Action.ROLLED_BACK),
        (Step.UNDONE, OLD, False, Action.NOTHING),
    ],
)
def test_what_is_done_about_what_was_cut_short(step, active, running, action):
    assert decide(replace(JOURNAL, step=step), active.digest, running=running) is action


@pytest.mark.parametrize("step", [Step.STAGING, Step.STAGED, Step.DUE, Step.UNDONE])
def test_a_rollback_that_was_cut_short_is_noted_also_after_another_update_was_begun(step):
    journal = replace(begin_journal(replace(JOURNAL, step=Step.COMMITTED), NEW, OTHER), step=step)
    assert decide(journal, OLD.digest, running=False) is Action.ROLLED_BACK
    after = rolled_back(journal, journal.left, OLD)
    assert (after.old, after.new, after.way_back) == (OLD, NEW, None)
    assert decide(after, OLD.digest, running=False) is Action.NOTHING


def test_without_a_journal_nothing_is_done():
    assert decide(None, OLD.digest, running=False) is Action.NOTHING
    assert is_data_due(None)


@given(st.sampled_from(Step), st.booleans(), st.booleans())
def test_the_machine_file_decides_and_one_decision_is_enough(step, new, running):
    """Whatever step was written: where the machine file names the new system, it is never undone; and else, kept."""
    action = decide(replace(JOURNAL, step=step), (NEW if new else OLD).digest, running=running)
    assert action not in ({Action.UNDO, Action.CLOSE, Action.TRY, Action.ROLLED_BACK} if new else {Action.COMMIT})


def test_the_way_back_and_what_is_bad_are_carried_on():
    journal = begin_journal(None, OLD, NEW)
    assert journal.way_back is None
    kept = replace(journal.turned(Step.COMMITTED), old_podman="podman 4.3", new_podman="podman 5.0", data_kept=True)
    assert kept.way_back == (OLD, "podman 4.3", "podman 5.0")
    on = begin_journal(kept, NEW, OTHER)
    assert on.way_back == (OLD, "podman 4.3", "podman 5.0")
    assert on.data_kept
    undone = on.undone("it panicked", bad=True)
    assert (undone.bad_reason(OTHER.digest), undone.bad_reason(NEW.digest)) == ("it panicked", None)
    assert undone.way_back == on.way_back
    back = rolled_back(undone, NEW, OLD)
    assert back.way_back is None
    assert back.bad_reason(NEW.digest) == "rolled back"
    assert begin_journal(back, OLD, OTHER).bad == back.bad


def test_an_update_to_the_way_back_takes_its_place():
    kept = replace(begin_journal(None, OLD, NEW).turned(Step.COMMITTED), old_podman="podman 4.3", new_podman="podman 5")
    journal = begin_journal(kept, NEW, OLD)
    assert (journal.way_back, journal.old_podman) == (None, "podman 5")
    assert journal.undone("it panicked", bad=True).way_back is None


def test_the_data_from_before_is_kept_for_a_week_after_the_update():
    begun = datetime.fromisoformat(AT)
    for days, due in ((0, False), (6, False), (8, True), (-1, True)):
        assert is_data_due(JOURNAL, begun + timedelta(days=days)) == due
    assert is_data_due(replace(JOURNAL, data_kept=False), begun)
    assert not is_data_due(replace(JOURNAL, step=Step.TRYING), begun + timedelta(days=8))
    assert not is_data_due(begin_journal(JOURNAL, NEW, OTHER), datetime.now(UTC))


@pytest.mark.parametrize(
    ("there", "here", "migrated"),
    [
        ("", "", False),
        ("podman 4.3 overlay", "podman 4.3 overlay", False),
        ("podman 4.3 overlay", "podman 4.4 overlay", True),
        ("podman 4.3 overlay", "podman 4.9 boltdb overlay", True),
        ("podman 4.6 boltdb overlay", "podman 4.9 boltdb overlay", False),
        ("podman 4.6 sqlite overlay", "podman 4.9 sqlite overlay", True),
        ("podman 4.8 sqlite overlay", "podman 4.10 sqlite overlay", False),
        ("podman 5.4 sqlite overlay", "podman 5.8 sqlite overlay", False),
        ("podman 5.8 sqlite overlay", "podman 5.4 sqlite overlay", False),
        ("podman 5.4 sqlite overlay", "podman 5.8 sqlite btrfs", True),
        ("podman 5.4 boltdb overlay", "podman 5.8 sqlite overlay", True),
        ("podman 4.9 sqlite overlay", "podman 5.0 sqlite overlay", True),
        ("podman 6.0 sqlite overlay", "podman 6.1 sqlite overlay", True),
        ("", "podman 5.4 sqlite overlay", True),
        ("podman 5.4 sqlite overlay", "podman 5.4 sqlite overlay\n", True),
    ],
)
def test_what_is_known_to_read_the_same_is_no_migration(there, here, migrated):
    assert is_migrated(there, here) is migrated
    assert is_migrated(here, there) is migrated


def test_a_rollback_that_fails_stays_the_way_back():
    kept = replace(JOURNAL, old_podman="podman 4.3", new_podman="podman 4.3")
    plan = begin_rollback(kept, Switch.ROLLBACK)
    assert (plan.old, plan.new, plan.data_kept, plan.bad) == (NEW, OLD, True, kept.bad)
    assert decide(plan.turned(Step.TRYING), NEW.digest, running=False) is Action.UNDO
    assert decide(plan.turned(Step.TRYING), OLD.digest, running=False) is Action.COMMIT
    assert decide(plan.turned(Step.DUE), NEW.digest, running=False) is Action.TRY
    undone = plan.turned(Step.TRYING).undone("it panicked", bad=False)
    assert undone.way_back == kept.way_back
    assert begin_rollback(undone, Switch.ROLLBACK_DATA).new == OLD
