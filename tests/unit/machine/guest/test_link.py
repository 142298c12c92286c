"""Logging in to a guest: one connection of root's for all sockets, or one of each user where root is denied."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.machine.test_model import MACHINE

from haulout.machine import Place
from haulout.machine.guest import link

SSH = """#!/usr/bin/env python3
import os, socket, sys, time
words = sys.argv[1:]
user = words[words.index("-l") + 1]
with open(os.environ["CALLS"], "a+") as calls:
    print(user, file=calls)
    calls.seek(0)
    number = len(calls.readlines())
if number <= int(os.environ["REFUSED"]):
    sys.exit("kex_exchange_identification: read: Connection reset by peer")
if user in os.environ["DENIED"].split():
    sys.exit(f"{user}@127.0.0.1: Permission denied (publickey).")
ends = [each.partition(":")[0] for option, each in zip(words, words[1:]) if option == "-L"]
kept = []
for path in [os.environ["CONTROL"] + user, *ends]:
    kept.append(socket.socket(socket.AF_UNIX))
    kept[-1].bind(path)
time.sleep(60)
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Log in to a guest that refuses a number of connections, and denies some users; return who asked and who is in."""
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    place = Place("web", tmp_path / "web", tmp_path / "run", tmp_path / "images")
    for folder in (place.folder, place.runtime):
        folder.mkdir()
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CONTROL", f"{place.runtime}/ssh-")
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setattr(link, "_ROOT_SECONDS", 0.2)

    async def has_network():
        return True

    async def log_in(seconds):
        life = SimpleNamespace(ssh_port=1, resets=0, reset=asyncio.Event(), panicked=False, has_network=has_network)
        made = link.Link(place, MACHINE, life, ("", ""))
        said: list[object] = []

        async def prepared(say, seconds):
            said.extend(each.name for each in MACHINE.sockets if made.inner(each.name).exists())
            said.append(sorted(made._masters))

        monkeypatch.setattr(made, "_prepare", prepared)
        try:
            await made.open(lambda _: None, seconds)
        finally:
            await made.close()
        return [*said, calls.read_text().split()]

    def run(refused, denied, seconds=20.0):
        monkeypatch.setenv("REFUSED", str(refused))
        monkeypatch.setenv("DENIED", denied)
        return asyncio.run(log_in(seconds))

    return run


def test_one_login_leads_to_all_sockets(opened):
    assert opened(0, "") == ["podman", "podman-root", ["root"], ["root"]]


def test_a_guest_that_refuses_is_asked_again_and_as_no_other(opened):
    assert opened(2, "") == ["podman", "podman-root", ["root"], ["root"] * 3]


def test_where_root_is_denied_the_user_has_his_socket(opened):
    *found, asked = opened(1, "root")
    assert found == ["podman", ["core"]]
    assert asked[:3] == ["root", "root", "core"]
    assert set(asked[3:]) == {"root"}


def test_where_all_are_denied_it_fails_in_time(opened):
    with pytest.raises(link.GuestFailed, match="ssh did not answer within 1 seconds"):
        opened(0, "root core", seconds=0.6)


def test_a_socket_that_comes_late_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(link, "_LATE_SECONDS", (0.01, 0.02))
    life: Any = SimpleNamespace()
    made = link.Link(Place("web", tmp_path, tmp_path, tmp_path), MACHINE, life, ("", ""))
    monkeypatch.setattr(made, "_masters", {"root": None})
    made.sockets = {"podman-root"}
    # A guest that is too slow to answer, one that has not got it yet, and one that has.
    answers = iter([[], ["told"], ["podman"]])

    async def run(script):
        assert script == "[ -S /run/user/1000/podman/podman.sock ] && echo podman"
        return next(answers)

    monkeypatch.setattr(made, "run", run)
    asyncio.run(made._find_late())
    assert (made.sockets, list(answers)) == ({"podman", "podman-root"}, [])
