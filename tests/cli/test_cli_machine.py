"""Arguments of machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from haulout.cli.machine.common import AmountParam
from haulout.cli.main import main
from haulout.errors import UsageError
from haulout.machine import (
    DiskKind,
    EventKind,
    Image,
    Machine,
    Machines,
    Step,
    begin_journal,
    publish,
    write_journal,
)


@pytest.mark.parametrize(
    ("unit", "text", "amount"),
    [
        *(("M", "4096", 4096), ("M", "4G", 4096), ("M", "512MiB", 512), ("M", "1t", 1 << 20), ("M", "2gb", 2048)),
        *(("G", "50", 50), ("G", "50G", 50), ("G", "2T", 2048), ("G", "2048M", 2)),
    ],
)
def test_an_amount_may_have_a_unit(unit, text, amount):
    found = AmountParam(1, 1 << 20, unit).convert(text, None, None)
    assert (found, type(found)) == (amount, int)


@pytest.mark.parametrize("text", ["", "G", "4K", "-1G", "1.5G", "4 G", "500M", "2000T", "4GG", "\u0664G"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(UsageError):
        AmountParam(1, 1 << 14, "G").convert(text, None, None)


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("init web oci:x:1 --proxy foo", 2, "--proxy takes host, none, or the URL of a proxy"),
        ("init web oci:x:1 --proxy http://me:s3cret@p:1", 2, "cannot hold a user or a password"),
        ("set web --update-window 2-5", 2, "'2-5' is not a time of day"),
        ("set web --update-window 02:00-02:10", 2, "is too short"),
        ("init web oci:x:1 --ca nothing.pem", 4, "no such file"),
        ("autostart web", 2, "'web' is not one of 'enable', 'disable', 'status'"),
        ("autostart enable web", 4, "there is no machine web"),
        ("events --since yesterday", 2, "--since takes a time, not 'yesterday'"),
        ("events --since 2026-13-01", 2, "--since takes a time"),
        ("events ../x", 2, "is not a name for a machine"),
        ("events --since 30m", 0, "there is no such event"),
        ("events later --since 2026-01-31T08:00:00Z", 0, "there is no such event"),
    ],
)
def test_a_wrong_word_is_told_in_one_line(capsys, home, words, code, says):
    assert main(["machine", *words.split()]) == code
    said = capsys.readouterr()
    assert says in said.err.splitlines()[0]
    assert "s3cret" not in said.err
    assert said.out == ""
    assert not (home / "haulout/machines/web/machine.json").exists()


def test_the_list_says_which_system_a_machine_has_and_what_became_of_its_update(capsys, home):
    place = Machines.here().place("web")
    place.folder.mkdir(parents=True)
    old, new = (Image("oci:machines:5.0", f"oci:machines@sha256:{digit * 64}", DiskKind.RAW) for digit in "01")
    place.save(Machine("web", "7c8bf4d6-0000-4000-8000-000000000000", "2026-01-31T08:00:00+00:00", old))
    place.record("ended", "it was switched off")
    journal = begin_journal(None, old, new)
    for made, said in (
        (journal.turned(Step.STAGED), "; an update is staged"),
        (journal.turned(Step.DUE), "; updating: due"),
        (journal.undone("it has no network", bad=True), "; an update was undone: it has no network"),
        (journal.turned(Step.COMMITTED), ""),
    ):
        write_journal(place, made)
        assert main(["machine", "list"]) == 0
        line = capsys.readouterr().out
        assert "it was switched off; " in line
        assert line.endswith(f"oci:machines:5.0 (000000000000){said}\n")


def test_lists_are_removed_by_none(capsys, home):
    place = Machines.here().place("web")
    place.folder.mkdir(parents=True)
    image = Image("oci:machines:5.0", f"oci:machines@sha256:{'0' * 64}", DiskKind.RAW)
    place.save(Machine("web", "7c8bf4d6-0000-4000-8000-000000000000", "2026-01-31T08:00:00+00:00", image))

    def changed(*words):
        assert main(["machine", "set", "web", *words, "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        return [len(made[each]) for each in ("mounts", "forwards", "ca")], made["proxy"]

    all_of_them = changed("--mount", str(home), "-p", "8080:80", "-p", "53:53/udp", "--ca", "host", "--proxy", "none")
    assert all_of_them == ([1, 2, 1], "none")
    assert changed("--publish", "none") == ([1, 0, 1], "none")
    assert changed("--mount", "none") == ([0, 0, 1], "none")
    assert changed("--ca", "none", "--proxy", "host") == ([0, 0, 0], "host")
    assert changed("--mount", "none", "--mount", f"{home}:/mnt", "-p", "none", "-p", "80:80") == ([1, 1, 0], "host")


def test_how_a_machine_is_updated_is_set(capsys, home):
    place = Machines.here().place("web")
    place.folder.mkdir(parents=True)
    image = Image("oci:machines:5.0", f"oci:machines@sha256:{'0' * 64}", DiskKind.RAW)
    place.save(Machine("web", "7c8bf4d6-0000-4000-8000-000000000000", "2026-01-31T08:00:00+00:00", image))
    words = "--update-policy apply --update-window 22:00-06:00 --min-severity high --pin"
    assert main(["machine", "set", "web", *words.split(), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["update"]
    assert (made["policy"], made["window"], made["min_severity"], made["pin"]) == ("apply", "22:00-06:00", "high", True)
    assert main(["machine", "set", "web", "--update-window", "none", "--no-pin"]) == 0
    assert (place.load().update.window, place.load().update.pin) == ("", False)
    assert place.load().update.policy == "apply"


def test_what_happened_is_told_in_words(capsys, home):
    history = home / "haulout/events.jsonl"
    publish(history, "web", None, EventKind.SET, resources={"cpus": 1, "disk": 5}, ca=["host", "/a"], mounts=[])
    publish(history, "web", None, EventKind.REMOVED, kept_data=True)
    assert main(["machine", "events"]) == 0
    told = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert told == ["web  set: resources cpus=1 disk=5, ca host /a, mounts none", "web  removed: kept data yes"]
    assert main(["machine", "events", "web", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["verb"], one["kind"]) for one in lines] == [("machine events", "set"), ("machine events", "removed")]


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (("events", "w"), ["plain,web", "plain,work"]),
        (("autostart", "enable", "we"), ["plain,web"]),
        (("cp", "we"), ["plain,web:", "file,we"]),
    ],
)
def test_names_of_machines_are_completed(home, words, completed):
    for name in ("web", "work"):
        (home / f"haulout/machines/{name}").mkdir(parents=True)
        (home / f"haulout/machines/{name}/machine.json").touch()
    line = ["haulout", "machine", *words]
    done = subprocess.run(
        [Path(sys.executable).with_name("haulout")], capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(line) - 1), "_HAULOUT_COMPLETE": "bash_complete"},
    )  # fmt: skip
    assert done.stdout.splitlines() == completed
