"""The history of machines: every event once, in order, whatever was killed, and not without end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from haulout.errors import UsageError
from haulout.machine import EventKind, Machines, events, publish, read_events
from haulout.machines import machine_events

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "docs/machine-event.schema.json").read_text())


@pytest.fixture
def history(tmp_path):
    return tmp_path / "data/events.jsonl"


def numbers(found):
    return [event.data["n"] for event in found]


def test_what_is_published_is_read_in_order(history):
    before = datetime.now(UTC)
    publish(history, "web", "an id", EventKind.CREATED, image="r@sha256:0", n=0)
    publish(history, "test", None, EventKind.REMOVED, kept_data=True, n=1)
    first, second = read_events(history)
    assert (first.machine, first.id, first.kind, first.data["image"]) == ("web", "an id", "created", "r@sha256:0")
    assert (second.id, second.data["kept_data"]) == (None, True)
    assert before <= first.time <= second.time <= datetime.now(UTC)
    assert history.stat().st_mode & 0o777 == 0o600


def test_the_published_schema_is_that_of_an_event(history):
    publish(history, "web", "an id", EventKind.STARTED)
    (event,) = read_events(history)
    document = event.to_dict()
    assert set(SCHEMA["properties"]) == {"schema", "verb", *document}
    assert SCHEMA["required"] == list(SCHEMA["properties"])
    assert SCHEMA["properties"]["kind"]["enum"] == list(EventKind)
    assert document["time"].endswith("+00:00"), "RFC 3339"


@pytest.mark.parametrize(
    "torn",
    [
        *(b'{"time": "2026-', b"\0\0\0", b'{"time": 1}\n', b"[]\n", b"\xff\n", b'{"kind": "x"}\n'),
        b"[" * 100_000 + b"\n",
        *(
            b'{"time": "%s", "machine": "web", "id": null, "kind": "set", "data": {}}\n' % time
            for time in (b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59Z")
        ),
    ],
)
def test_a_torn_line_takes_no_other_with_it(history, torn):
    publish(history, "web", None, EventKind.STARTING, n=0)
    with history.open("ab") as file:
        file.write(torn)
    publish(history, "web", None, EventKind.STARTED, n=1)
    assert numbers(read_events(history)) == [0, 1]


def test_a_time_without_a_zone_can_be_compared(history, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(history.parents[1]))
    path = Machines.here().history
    path.parent.mkdir(parents=True)
    path.write_text('{"time": "2026-01-31T08:00:00", "machine": "web", "id": null, "kind": "set", "data": {}}\n')
    assert len(list(machine_events(since=datetime(2026, 1, 1, tzinfo=UTC)))) == 1
    assert not list(machine_events(since=datetime(2026, 3, 1, tzinfo=UTC)))


def test_a_line_that_is_torn_at_the_end_waits_for_its_rest(history):
    publish(history, "web", None, EventKind.STARTING, n=0)
    whole = history.read_bytes()
    history.write_bytes(whole + whole[:20])
    assert numbers(read_events(history)) == [0]


def test_a_history_does_not_grow_without_end(history, monkeypatch):
    monkeypatch.setattr(events, "MOST", 2000)
    for number in range(200):
        publish(history, "web", None, EventKind.SET, n=number)
    files = list(history.parent.iterdir())
    assert len(files) == 2
    assert sum(path.stat().st_size for path in files) < 5000
    found = numbers(read_events(history))
    assert found == list(range(found[0], 200))
    assert len(found) > 10


def test_many_at_once_lose_nothing(history, monkeypatch):
    monkeypatch.setattr(events, "MOST", 1 << 14)
    code = (
        "import sys; from pathlib import Path; from haulout.machine import EventKind, events, publish;"
        "events.MOST = 1 << 14;"
        f"[publish(Path({str(history)!r}), sys.argv[1], None, EventKind.SET, n=n) for n in range(40)]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("one", "two", "three")]
    assert [each.wait(30) for each in writers] == [0, 0, 0]
    found = list(read_events(history))
    for name in ("one", "two", "three"):
        assert numbers(event for event in found if event.machine == name) == list(range(40))


def test_a_follower_sees_what_comes_across_a_new_history_and_ends_when_told(history, monkeypatch):
    monkeypatch.setattr(events, "MOST", 600)
    monkeypatch.setattr(events, "_POLL", 0.01)
    ended, seen, begun = threading.Event(), [], threading.Event()

    def watch():
        begun.set()
        for event in read_events(history, follow=True, ended=ended):
            seen.append(event.data["n"])
            # The writer goes on when this one has read: no history is passed over in between.
            turn.set()

    turn = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    begun.wait(5)
    for number in range(30):
        publish(history, f"m{number}", None, EventKind.CREATED, n=number)
        assert turn.wait(5)
        turn.clear()
    assert (history.parent / "events.jsonl.1").exists(), "a new one was begun"
    ended.set()
    watcher.join(5)
    assert not watcher.is_alive()
    assert seen == list(range(30))


def test_where_nothing_can_be_written_the_work_goes_on(tmp_path):
    (tmp_path / "data").write_text("a file")
    publish(tmp_path / "data/events.jsonl", "web", None, EventKind.SET)
    assert list(read_events(tmp_path / "none/events.jsonl")) == []


def test_events_are_chosen_by_name_and_time(tmp_path, monkeypatch):
    machines = Machines(tmp_path, tmp_path, tmp_path)
    monkeypatch.setattr(Machines, "here", lambda: machines)
    for number, name in enumerate(("web", "test", "web")):
        publish(machines.history, name, None, EventKind.SET, n=number)
    assert numbers(machine_events()) == [0, 1, 2]
    assert numbers(machine_events(["web", "later"])) == [0, 2]
    times = [event.time for event in machine_events()]
    assert numbers(machine_events(since=times[1])) == [1, 2]
    assert numbers(machine_events(since=datetime.now() - timedelta(days=1))) == [0, 1, 2], "without a zone: local time"  # noqa: DTZ005
    assert numbers(machine_events(since=datetime.now(UTC) + timedelta(days=1))) == []
    with pytest.raises(UsageError):
        machine_events(["../x"])
    assert machines.place("web").history == machines.history


def test_a_history_that_is_renamed_while_it_is_read_is_read_once(history, monkeypatch):
    publish(history, "web", None, EventKind.SET, n=0)
    opened = Path.open

    def renamed_after(path, *arguments):
        file = opened(path, *arguments)
        if path == history:
            history.replace(history.with_name("events.jsonl.1"))
        return file

    monkeypatch.setattr(Path, "open", renamed_after)
    assert numbers(read_events(history)) == [0]
