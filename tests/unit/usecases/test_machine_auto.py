"""Machines that are updated by themselves, and what is known before: with machines that do not run."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.disks import MIB, noise, raw_disk
from tests.support.recording_progress import RecordingProgress
from tests.support.servers import needs

from haulout import Architecture, DiskSource, push
from haulout.cli.main import main
from haulout.errors import ConflictError, InvalidFile, NotFoundError
from haulout.local import locked
from haulout.machine import (
    DiskKind,
    Image,
    Machine,
    Machines,
    Policy,
    Severity,
    Update,
    read_events,
    read_journal,
    write_journal,
)
from haulout.machine.update.auto_note import AutoNote, read_note, write_note
from haulout.machines import machine_auto, machine_auto_run, machine_update, machine_update_check, read_fixes
from haulout.usecases import machine_auto as module
from haulout.usecases import machine_update as updates
from haulout.usecases.lookup import resolve

pytestmark = [pytest.mark.tools, needs("qemu-img")]
IDS = [f"7c8bf4d6-0000-4000-8000-00000000000{number}" for number in range(4)]


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Versions 1 and 2; ``stable`` is 2."""
    folder = tmp_path_factory.mktemp("layout")
    disk = raw_disk(folder / "disk.raw", data_mib=2, size_mib=4)
    here = Architecture.here()
    for tag in ("1", "2"):
        push(f"oci:{folder}/m:{tag}", [DiskSource(disk, here)], level=1)
        data = bytearray(disk.read_bytes())
        data[MIB : MIB + 4096] = noise("a fix", 4096)
        disk.write_bytes(data)
    push(f"oci:{folder}/m:stable", [DiskSource(disk, here)], level=1)
    return f"oci:{folder}/m"


@pytest.fixture
def told(monkeypatch):
    """What users were told on their desktop."""
    said: list[str] = []
    monkeypatch.setattr(module, "tell_desktop", lambda title, text: said.append(f"{title}: {text}"))
    return said


def make(layout, name="web", number=0, version="1", **update):
    pinned = resolve(f"{layout}:{version}").pinned
    image = Image(f"{layout}:stable", str(pinned), DiskKind.RAW)
    place = Machines.here().place(name)
    place.folder.mkdir(parents=True)
    place.images.mkdir(exist_ok=True)
    machine = Machine(name, IDS[number], "2026-01-31T08:00:00+00:00", image, update=Update(**update))
    place.save(machine)
    return place


def events(place):
    return [each.kind for each in read_events(place.history)]


def fix_list(folder, layout, severity="high"):
    path = folder / "fixes.json"
    versions = [
        {"digests": [str(resolve(f"{layout}:1").digest)]},
        {"digests": [str(resolve(f"{layout}:2").digest)], "severity": severity, "fixes": ["CVE-2026-1"]},
    ]
    path.write_text(json.dumps({"schema": 1, "versions": versions}))
    return path


def test_a_check_says_what_there_is_and_what_is_done_about_it(home, layout):
    make(layout, policy=Policy.APPLY, min_severity=Severity.HIGH)
    fixes = read_fixes(fix_list(home, layout))
    found = machine_update_check("web", fixes=fixes)
    assert (found.status, found.severity, found.fixes) == ("available", "high", ("CVE-2026-1",))
    assert found.candidate == str(resolve(f"{layout}:2").pinned)
    assert found.to_fetch is not None
    assert (found.decision.action, found.decision.due) == ("stage", True)
    unrated = machine_update_check("web", measure=False)
    assert (unrated.severity, unrated.to_fetch, unrated.decision.action) == (None, None, "notify")
    document = found.to_dict()
    assert document["decision"] == {"action": "stage", "due": True, "when": None, "why": "it is fetched"}
    assert sorted(each.name for each in Machines.here().place("web").folder.iterdir()) == ["machine.json"]


def test_a_check_of_what_is_current_or_pinned(home, layout):
    make(layout, version="2")
    assert machine_update_check("web").status == "current"
    make(layout, "pinned", 1, policy=Policy.APPLY, pin=True)
    assert machine_update_check("pinned").decision.why == "the image of this machine is pinned"
    assert machine_update_check("web", to=f"{layout}:1").status == "available"
    with pytest.raises(NotFoundError):
        machine_update_check("web", to=f"{layout}:9")


def test_a_machine_is_looked_at_in_its_turn_and_its_user_told_once(home, layout, told):
    place = make(layout)
    (first,) = machine_auto_run().machines
    assert (first.status, first.candidate) == ("waiting", None)
    assert first.when is not None
    assert machine_auto_run().machines[0].status == "waiting"
    note = read_note(place)
    assert note is not None
    write_note(place, replace(note, checked=datetime.now(UTC) - timedelta(days=2)))
    (done,) = machine_auto_run().machines
    assert (done.status, done.why) == ("notified", "this machine is updated only when its user says so")
    assert told == ["Machine web: There is an update. haulout machine update web"]
    assert [each.status for each in machine_auto_run(at_once=True).machines] == ["notified"]
    assert events(place) == ["update-found"]
    assert len(told) == 1
    assert machine_auto().machines == (done,)


def test_an_update_is_staged_and_waits(home, layout, told):
    place = make(layout, policy=Policy.STAGE, min_severity=Severity.MEDIUM)
    fixes = fix_list(home, layout)
    (done,) = machine_auto_run(fixes=fixes, at_once=True).machines
    assert (done.status, done.severity) == ("staged", "high")
    assert place.load().image.pinned == str(resolve(f"{layout}:1").pinned), "it runs what it ran"
    assert machine_update_check("web").status == "staged"
    assert told == ["Machine web: An update is staged, high: CVE-2026-1. haulout machine update web"]
    (again,) = machine_auto_run(fixes=fixes, at_once=True).machines
    assert (again.status, len(told)) == ("notified", 1)
    assert events(place) == ["update-staged"]


def test_one_that_fails_does_not_keep_the_others(home, layout, told):
    broken = make(layout, "aa")
    broken.file("machine.json").write_text("{")
    gone = make(layout, "bb", 1)
    gone.save(replace(gone.load(), image=replace(gone.load().image, reference=f"{layout}:gone")))
    offline = make(layout, "cc", 2)
    offline.save(replace(offline.load(), image=replace(offline.load().image, reference="127.0.0.1:9/m:1")))
    make(layout, "dd", 3)
    progress = RecordingProgress()
    done = machine_auto_run(at_once=True, progress=progress, connections=None)
    assert [each.status for each in done.machines] == ["failed", "failed", "waiting", "notified"]
    assert done.failed
    assert len([note for note in progress.notes if note.startswith(("aa:", "bb:"))]) == 2
    assert len(told) == 1
    assert not machine_auto_run(["dd"], at_once=True).failed


def test_a_damaged_list_of_fixes_stops_no_update(home, layout, told):
    make(layout, policy=Policy.STAGE)
    (home / "fixes.json").write_text("{")
    progress = RecordingProgress()
    assert machine_auto_run(fixes=home / "fixes.json", at_once=True, progress=progress).machines[0].status == "staged"
    assert any("nothing is known of what updates fix" in note for note in progress.notes)
    with pytest.raises(InvalidFile):
        machine_auto(enable=True, fixes=home / "fixes.json")
    assert not machine_auto().enabled


def test_two_runs_and_names_that_are_none(home, layout):
    make(layout)
    with pytest.raises(NotFoundError):
        machine_auto_run(["web", "other"])
    with locked(home / "haulout/auto.lock", seconds=0, busy="busy"), pytest.raises(ConflictError, match="another run"):
        machine_auto_run()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"checked": "yesterday"}', '{"checked": "2026-01-31T08:00:00"}'])
def test_a_note_that_cannot_be_read_is_none(home, layout, text):
    place = make(layout)
    place.file("auto.json").write_text(text)
    assert read_note(place) is None
    assert machine_auto_run().machines[0].status == "waiting"
    assert read_note(place) is not None


def test_a_note_stays_as_it_is(home, layout):
    place = make(layout)
    note = AutoNote(datetime.now(UTC), "oci:m@sha256:0", "update-found x")
    write_note(place, note)
    assert read_note(place) == note


@needs("systemctl")
def test_the_command(home, layout, told, capsys):
    make(layout)
    assert main(["machine", "auto", "enable"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["machines are updated by themselves", f"  by {home}/.config/systemd/user/haulout_auto.timer"]
    assert main(["machine", "auto", "run", "web", "--at-once"]) == 0
    assert capsys.readouterr().out == "web: notified: this machine is updated only when its user says so\n"
    assert main(["machine", "auto", "status", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verb"], found["enabled"], found["machines"][0]["status"]) == (
        "machine auto status",
        True,
        "notified",
    )
    assert main(["machine", "auto", "disable"]) == 0
    assert main(["machine", "auto", "enable", "web"]) == 2
    make(layout, "other", 1).file("machine.json").write_text("{")
    assert main(["machine", "auto", "run"]) == 1
    assert not os.path.lexists(home / ".config/systemd/user/haulout_auto.timer")


@pytest.fixture
def applied(monkeypatch):
    """What was applied, by digest; the host lets none succeed."""
    done: list[str] = []

    def undone(place, what, journal, progress):
        done.append(journal.new.pinned)
        return write_journal(place, journal.undone("there was no room", bad=False))

    monkeypatch.setattr(updates, "switch_or_start", undone)
    return done


@needs("systemctl")
def test_the_timer_reaches_registries_as_it_was_told_and_what_it_knows_is_known_to_all(
    home, layout, told, capsys, monkeypatch
):
    make(layout, policy=Policy.APPLY, min_severity=Severity.HIGH)
    fixes = fix_list(home, layout)
    words = ["--plain-http", "--ca-file", "ca.pem", "--limit-rate", "10M", "--retries", "1", "--allow-host", "a:1"]
    monkeypatch.chdir(home)
    assert main(["machine", "auto", "enable", "--fixes", str(fixes), *words]) == 2, "ca.pem is not there"
    assert not machine_auto().enabled
    (home / "ca.pem").write_text("")
    assert main(["machine", "auto", "enable", "--fixes", str(fixes), *words]) == 0
    unit = (home / ".config/systemd/user/haulout_auto.service").read_text()
    given = [*words[:2], str(Path("ca.pem").absolute()), "--limit-rate", str(10 * MIB), *words[5:]]
    assert all(f'"{word}"' in unit for word in given), unit
    assert machine_update_check("web", measure=False).severity == "high"
    write_note(Machines.here().place("web"), AutoNote(datetime.now(UTC), str(resolve(f"{layout}:2").pinned)))
    assert [each.severity for each in machine_auto().machines] == ["high"]
    fixes.write_text("{")
    assert main(["machine", "auto", "status"]) == 0
    assert "nothing is known of what updates fix" in capsys.readouterr().err


def test_only_the_version_that_was_decided_on_is_fetched_and_applied(home, layout, told, applied):
    place = make(layout, version="2", policy=Policy.APPLY)
    one = str(resolve(f"{layout}:1").pinned)
    write_note(place, AutoNote(datetime.now(UTC), one))
    assert [each.status for each in machine_auto_run().machines] == ["undone"]
    assert applied == [one]
    journal = read_journal(place)
    assert journal is not None
    assert journal.new.reference == f"{layout}:stable", "where it looks from now on"


def test_what_is_here_is_applied_without_a_network(home, layout, told, applied):
    place = make(layout, policy=Policy.APPLY)
    two = str(resolve(f"{layout}:2").pinned)
    machine_update("web", stage=True)
    place.save(replace(place.load(), image=replace(place.load().image, reference="127.0.0.1:9/m:1")))
    write_note(place, AutoNote(datetime.now(UTC) - timedelta(days=1), two))
    progress = RecordingProgress()
    assert [each.status for each in machine_auto_run(progress=progress).machines] == ["undone"]
    assert applied == [two]
    assert any("127.0.0.1:9" in note for note in progress.notes)


def test_an_update_that_this_host_lets_fail_is_tried_again_in_its_turn_only(home, layout, told, applied):
    place = make(layout, policy=Policy.APPLY)
    assert [each.status for each in machine_auto_run(at_once=True).machines] == ["undone"]
    for _ in range(2):
        (again,) = machine_auto_run().machines
        assert (again.status, again.why) == ("waiting", "it was tried and not kept, and is tried again in its turn")
    assert machine_auto().machines == (again,)
    assert len(applied) == len(told) == 1
    note = read_note(place)
    assert note is not None
    write_note(place, replace(note, checked=datetime.now(UTC) - timedelta(days=1)))
    assert [each.status for each in machine_auto_run().machines] == ["undone"]
    assert len(applied) == 2
