"""The timer of "machine auto": systemd itself checks the units, launchd's list is what its reader reads."""

from __future__ import annotations

import plistlib
import subprocess
import sys

import pytest
from tests.support.servers import needs

from haulout.errors import ToolError
from haulout.machine.units import user_units
from haulout.machine.units.auto_timer import AutoTimer, agent, phase, service, timer, update_timer

ODD = """/opt/it's "$HOME" %h \\x é/haulout"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home, and no user manager to talk to."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "da ta"))
    monkeypatch.setattr(user_units, "tell", lambda *_words: False)
    return tmp_path


@needs("systemd-analyze")
def test_systemd_takes_both_units(tmp_path):
    program = tmp_path / "a $HOME %h" / "haulout"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for words in ([str(program)], [ODD]):
        made = service([*words, "machine", "auto", "run"], {"PATH": "/a b:$HOME"})
        (tmp_path / "haulout_auto.service").write_bytes(made)
        (tmp_path / "haulout_auto.timer").write_bytes(timer(899))
        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(tmp_path / "haulout_auto.timer")],
            env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert [line for line in done.stderr.splitlines() if "haulout" in line] == []


@needs("systemd-analyze")
def test_a_run_comes_every_quarter_of_an_hour():
    (line,) = (line for line in timer(443).decode().splitlines() if line.startswith("OnCalendar="))
    done = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=3", "--base-time=2026-01-31 08:00:00 UTC", line.partition("=")[2]],
        env={"PATH": "/usr/bin:/bin", "TZ": "UTC"}, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert [time in done.stdout for time in ("08:07:23", "08:22:23", "08:37:23")] == [True] * 3


def test_the_file_of_fixes_is_read_from_what_was_written(home):
    timer = update_timer()
    assert timer.fixes is None
    path = home / 'my "list" 100% $HOME\\.json'
    timer.files[0].parent.mkdir(parents=True)
    words = [ODD, "machine", "auto", "run", "--fixes", str(path)]
    timer.files[0].write_bytes(service(words, {}))
    assert timer.fixes == path
    (home / "list.plist").write_bytes(agent(words, {}))
    assert AutoTimer((home / "list.plist",), None).fixes == path
    for text in (b"", b"ExecStart=\n", b'ExecStart=:"x\n', b"\xff", service(words[:-1], {})):
        timer.files[0].write_bytes(text)
        assert timer.fixes is None


def test_registries_are_reached_as_now_but_no_password_is_written(home, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", "/etc/here")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://me:s3cret@proxy:3128")
    found = user_units.environment(registries=True)
    assert (found["DOCKER_CONFIG"], found["https_proxy"]) == ("/etc/here", "http://proxy:3128")
    assert "s3cret" not in str(found)
    assert "DOCKER_CONFIG" not in user_units.environment()


def test_each_user_and_host_has_a_phase_that_stays():
    found = [phase(f"{number}\n".encode(), 1000) for number in range(3000)]
    assert {each // 60 for each in found} == set(range(15))
    assert max(found.count(each) for each in found) < 15, "not all at once"
    assert phase(b"0\n", 1001) != found[0] == phase(b"0\n", 1000)


def test_it_is_enabled_once_and_disabled_once(home):
    found = update_timer()
    assert not found.enabled
    assert [found.enable(["--fixes", "/a b"]), found.enable(["--fixes", "/a b"])] == [True, False]
    folder = home / ".config/systemd/user"
    assert (folder / "timers.target.wants/haulout_auto.timer").readlink() == folder / "haulout_auto.timer"
    written = (folder / "haulout_auto.service").read_text()
    assert '"machine" "auto" "run" "--fixes" "/a b"' in written
    assert f'Environment="XDG_DATA_HOME={home}/da ta"' in written
    assert update_timer().enabled
    assert found.enable([]), "other arguments change it"
    (folder / "haulout_auto.service").unlink()
    assert not found.enabled
    assert [found.disable(), found.disable()] == [True, False]
    assert [path for path in folder.rglob("*") if not path.is_dir()] == []


def test_where_nobody_would_read_a_timer_none_is_written(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(ToolError, match="systemctl"):
        update_timer().enable([])
    assert not (home / ".config").exists()


def test_macos_has_an_agent(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    found = update_timer()
    assert found.enable([])
    made = plistlib.loads((home / "Library/LaunchAgents/io.github.haulout_auto.plist").read_bytes())
    assert made["ProgramArguments"][-3:] == ["machine", "auto", "run"]
    assert (made["StartInterval"], made["AbandonProcessGroup"]) == (900, True)
    assert found.disable()
