"""Telling users: with a real program in the place of notify-send, which needs a desktop."""

from __future__ import annotations

import sys

import pytest

from haulout.machine.update.notifications import notification, tell_desktop


@pytest.fixture
def desktop(tmp_path, monkeypatch):
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    return tmp_path


def test_it_is_shown_where_there_is_a_desktop(desktop, monkeypatch):
    assert tell_desktop("-web", "$(x) it's here")
    assert (desktop / "said").read_text() == "--app-name=haulout|--|-web|$(x) it's here|"
    monkeypatch.delenv("DISPLAY")
    assert notification("a", "b") is None
    assert not tell_desktop("a", "b")


def test_a_program_that_fails_is_no_error(desktop):
    (desktop / "notify-send").write_text("#!/bin/sh\nexit 1\n")
    assert not tell_desktop("a", "b")


def test_macos_gets_texts_as_arguments_and_not_as_a_script(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    made = notification('a"', '" & (do shell script "x")')
    assert made is not None
    assert made[-2:] == ['a"', '" & (do shell script "x")']
    assert "do shell" not in made[2]
