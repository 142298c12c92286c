"""Starting at login: systemd itself checks the unit, and launchd's list is what its reader reads."""

from __future__ import annotations

import plistlib
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.servers import needs

from haulout.errors import InvalidFile, ToolError
from haulout.machine.units import autostart, user_units
from haulout.machines import machine_autostart

GOLDEN = Path(__file__).parents[1] / "golden"
ODD = """/opt/it's "$HOME" %h \\x é/haulout"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a machine, and no user manager to talk to."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "da ta"))
    monkeypatch.setattr(user_units, "reload", lambda: None)
    folder = tmp_path / "da ta/haulout/machines/web"
    folder.mkdir(parents=True)
    (folder / "machine.json").write_text("{")
    return tmp_path


@needs("systemd-analyze")
def test_systemd_takes_the_unit_and_reads_the_very_words(tmp_path):
    path = tmp_path / "haulout-web.service"

    def verify(program):
        path.write_bytes(autostart.unit("web", [str(program)], {"PATH": "/a b:$HOME", "XDG_DATA_HOME": ODD}))
        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(path)], capture_output=True, text=True, timeout=30, check=False,
            env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        )  # fmt: skip
        return [line for line in done.stderr.splitlines() if "haulout" in line]

    program = tmp_path / "a $HOME %h;é" / "haulout"
    said = verify(program)
    assert len(said) == 2, said
    assert all(f"Command {program} is not executable" in line for line in said), "start and stop"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert verify(program) == []
    assert verify(ODD) == [], "a program that systemd would refuse is run by a shell"


def test_the_unit():
    assert autostart.unit("web", ["/opt/a $b/%h", "-m"], {"PATH": 'a"%b'}).decode().splitlines()[2:] == [
        *("Description=Machine web", "[Service]", "Type=oneshot", "RemainAfterExit=yes"),
        *("TimeoutStartSec=900", "TimeoutStopSec=180", 'Environment="PATH=a\\"%%b"'),
        'ExecStart=:"/opt/a $b/%%h" "-m" "machine" "start" "web"',
        'ExecStop=:"/opt/a $b/%%h" "-m" "machine" "stop" "web"',
        *("[Install]", "WantedBy=default.target"),
    ]
    odd = autostart.unit("web", [ODD], {}).decode()
    assert """ExecStart=:"/bin/sh" "-c" "exec \\"$@\\"" "haulout" "/opt/it's \\"$HOME\\" %%h \\\\x é/haulout" """ in odd


def test_the_agent_of_macos():
    made = autostart.agent("web", [ODD], {"PATH": "/opt/homebrew/bin:/usr/bin"})
    assert made == (GOLDEN / "autostart.plist").read_bytes()
    assert plistlib.loads(made)["ProgramArguments"] == [ODD, "machine", "start", "web"]


def test_it_is_enabled_once_shown_and_disabled_once(home):
    path = home / ".config/systemd/user/haulout-web.service"
    with pytest.raises(InvalidFile):
        machine_autostart("web", enable=True)
    file = autostart.start_file("web")
    assert [file.enable(), file.enable()] == [True, False]
    assert machine_autostart("web").enabled
    assert f'Environment="XDG_DATA_HOME={home}/da ta"' in path.read_text()
    path.write_text("of an older haulout\n")
    assert file.enable()
    assert (home / ".config/systemd/user/default.target.wants/haulout-web.service").readlink() == path
    assert [machine_autostart("web", enable=False).changed for _ in range(2)] == [True, False]
    assert not path.exists()
    assert not path.is_symlink()


def test_a_link_without_a_unit_is_not_enabled_and_goes_too(home):
    file = autostart.start_file("web")
    file.enable()
    file.path.unlink()
    assert not file.enabled
    assert file.disable()
    assert list((home / ".config/systemd/user/default.target.wants").iterdir()) == []


def test_where_nobody_would_read_a_unit_none_is_written(home, monkeypatch):
    file = autostart.start_file("web")
    file.enable()
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(ToolError, match="systemctl"):
        file.enable()
    assert file.disable(), "that works"
    with pytest.raises(ToolError):
        file.enable()
    assert not file.path.exists()


def test_macos_has_an_agent(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    file = autostart.start_file("web")
    assert file.enable()
    assert file.path == home / "Library/LaunchAgents/io.github.haulout.web.plist"
    assert plistlib.loads(file.path.read_bytes())["RunAtLoad"] is True


def test_the_program_is_the_one_that_runs(tmp_path, monkeypatch):
    usual = [sys.executable, "-P", "-m", "haulout"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert user_units.program() == usual
    other = tmp_path / "haulout"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert user_units.program() == usual, "another haulout on the search path is not this one"
    ours = Path(sys.executable).with_name("haulout")
    if ours.exists():
        other.unlink()
        other.symlink_to(ours)
        assert user_units.program() == [str(other)], "the link stays when the version changes"
