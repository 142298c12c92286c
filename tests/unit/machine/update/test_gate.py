"""The gate: what a machine lacks is named; what has been asked of podman's API is read whatever the answer is."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import time
from pathlib import Path
from time import monotonic, sleep

import pytest
from tests.unit.machine.test_model import MACHINE

from haulout.machine import Place
from haulout.machine.guest import scripts
from haulout.machine.guest.link import Link
from haulout.machine.update import api, gate, idleness
from haulout.machine.update.gate import Proof, failures, missing_containers
from haulout.machine.update.journal import Container
from haulout.machine.update_settings import Update, within

DB, WEB = Container("0a", "db"), Container("0b", "web")
BEFORE = Proof(sockets=frozenset({"podman", "podman-root"}), mounts=1, running={"podman": (DB, WEB)})


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (BEFORE, []),
        (replace(BEFORE, booted=False), ["the guest did not finish booting"]),
        (replace(BEFORE, sockets=frozenset({"podman"})), ["socket podman-root does not answer"]),
        (replace(BEFORE, mounts=0), ["1 of its 1 mounts are not there"]),
        (replace(BEFORE, running={"podman": (WEB,)}), ["containers that ran before do not run: db"]),
        (replace(BEFORE, running={}), ["containers that ran before do not run: db, web"]),
        (replace(BEFORE, running={"podman": (WEB, DB, Container("0c", "new"))}, mounts=2), []),
        (replace(BEFORE, running={"podman": (replace(WEB, id="1b"), DB)}), []),
        (replace(BEFORE, hook="/bin/check failed with exit code 3"), ["/bin/check failed with exit code 3"]),
    ],
)
def test_what_is_missing_is_named(after, says):
    assert failures(BEFORE, after) == says


def test_many_missing_containers_are_counted():
    many = {"podman": tuple(Container(f"{number:04}", "") for number in range(30))}
    assert failures(Proof(running=many), Proof())[0].endswith("0009 and 20 more")
    assert missing_containers(many, {"podman-root": many["podman"]}) == list(many["podman"]), (
        "each store is another one"
    )


@asynccontextmanager
async def podman(path, answers):
    """Serve answers by path, as they are."""
    asked = []

    async def serve(reader, writer):
        line = (await reader.readline()).decode().split()
        asked.append(tuple(line[:2]))
        while (await reader.readline()).strip():
            pass
        writer.write(answers.get(line[1], b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield asked


def response(document, *, chunked=False):
    body = json.dumps(document).encode()
    if chunked:
        head = b"Transfer-Encoding: chunked\r\n\r\n"
        return (
            b"HTTP/1.1 200 OK\r\n"
            + head
            + b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (3, body[:3], len(body) - 3, body[3:])
        )
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


LISTED = [
    {"Id": "0a", "Names": ["db"], "AutoRemove": False, "Labels": None},
    {"Id": "0b"},
    {"Id": "0c", "Names": ["systemd-web"], "AutoRemove": True, "Labels": {"PODMAN_SYSTEMD_UNIT": "web.service"}},
    {"Id": "0d", "Names": ["job"], "AutoRemove": True, "Labels": {}},
]
LIST, INFO = "/v4.0.0/libpod/containers/json", "/v4.0.0/libpod/info"


@pytest.mark.parametrize("chunked", [False, True])
def test_podmans_answers(tmp_path, chunked):
    info = {"version": {"Version": "5.4.2"}, "host": {"databaseBackend": "sqlite"}, "store": {"graphDriverName": "vfs"}}
    answers = {
        "/_ping": response("OK"),
        LIST: response(LISTED, chunked=chunked),
        INFO: response(info, chunked=chunked),
    }

    async def run():
        path = tmp_path / "s"
        async with podman(path, answers) as asked:
            assert await api.answers(path)
            assert await api.containers(path) == (
                Container("0a", "db"), Container("0b", ""), Container("0c", "systemd-web"), Container("0d", "job", True)
            )  # fmt: skip
            assert await api.kind_of_data(path) == "podman 5.4 sqlite vfs"
            await api.start(path, DB)
            await api.start(path, Container("../x y", "odd"))
            assert asked[-1] == ("POST", "/v4.0.0/libpod/containers/0a/start")

    asyncio.run(run())


@pytest.mark.parametrize("answer", [b"", b"x", b"HTTP/1.1 200 OK\r\n\r\n{", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", b"HTTP/1.1 500 x\r\n\r\n", response({"a": 1})])  # fmt: skip
def test_what_is_no_answer(tmp_path, answer):
    async def run():
        path = tmp_path / "s"
        async with podman(path, {LIST: answer, "/_ping": b"HTTP/1.1 503 no\r\n\r\n", INFO: answer}):
            assert not await api.answers(path)
            with pytest.raises(OSError, match="no answer"):
                await api.containers(path)
            assert await api.kind_of_data(path) == ""
        assert not await api.answers(tmp_path / "nobody")

    asyncio.run(run())


def test_whoever_knows_of_no_containers_has_none(tmp_path):
    async def run():
        async with podman(tmp_path / "s", {}):
            assert await api.containers(tmp_path / "s") == ()

    asyncio.run(run())


class FakeLink(Link):
    """A guest of which everything is known."""

    def __init__(self, folder):
        self._folder = folder

    def inner(self, name):
        return self._folder / f"to-{name}.sock"

    async def run(self, script, seconds=None):
        return ["mounted", "booted"] if script == scripts.state(MACHINE) else []


@pytest.mark.parametrize(("code", "says"), [(0, ""), (3, "failed with exit code 3: not well")])
def test_programs_of_the_users_are_asked_last(tmp_path, code, says):
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$HAULOUT_MACHINE $HAULOUT_SSH_CONFIG $HAULOUT_SOCKET_PODMAN" >{tmp_path}/told\n'
                    f"echo not well; exit {code}\n")  # fmt: skip
    hook.chmod(0o755)
    place = Place("web", tmp_path, tmp_path, tmp_path)
    machine = replace(MACHINE, update=Update(hooks=(str(hook),)))

    async def run():
        async with podman(tmp_path / "to-podman.sock", {"/_ping": response("OK"), LIST: response([])}):
            before = Proof(sockets=frozenset({"podman"}), mounts=1)
            found = await gate.prove(FakeLink(tmp_path), machine, place, before, print)
            assert failures(before, found) == ([f"{hook} {says}"] if says else [])

    asyncio.run(run())
    assert (tmp_path / "told").read_text().split() == ["web", str(place.ssh_config), str(tmp_path / "to-podman.sock")]


def test_a_program_that_is_not_there_is_a_failure(tmp_path):
    machine = replace(MACHINE, update=Update(hooks=("/nonexistent/hook",)))
    place = Place("web", tmp_path, tmp_path, tmp_path)
    found = asyncio.run(gate.prove(FakeLink(tmp_path), machine, place, Proof(), print))
    assert found.hook == "/nonexistent/hook is not installed"


def test_a_hook_may_have_any_name_and_goes_with_what_it_started(tmp_path):
    hook = tmp_path / "a=b"
    hook.write_text(f"#!/bin/sh\nsleep 600 &\necho $! >{tmp_path}/pid\nwait\n")
    hook.chmod(0o755)
    place = Place("web", tmp_path, tmp_path, tmp_path)

    async def run():
        asking = asyncio.create_task(
            gate.prove(FakeLink(tmp_path), replace(MACHINE, update=Update(hooks=(str(hook),))), place, Proof(), print)
        )
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()):
            assert not asking.done()
            await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(run())
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/status")
    deadline = monotonic() + 30
    while status.exists() and "\nState:\tZ" not in status.read_text():
        assert monotonic() < deadline, "it goes on"
        sleep(0.05)


@pytest.mark.parametrize(
    ("window", "at", "inside"),
    [
        ("", "12:00", True),
        ("02:00-05:00", "02:00", True),
        ("02:00-05:00", "05:00", False),
        ("23:00-05:00", "23:30", True),
        ("23:00-05:00", "04:59", True),
        ("23:00-05:00", "12:00", False),
    ],
)
def test_windows(window, at, inside):
    assert within(window, time.fromisoformat(at)) is inside


def test_a_machine_whose_supervisor_says_nothing_is_in_use(tmp_path):
    assert idleness.use_of(Place("web", tmp_path, tmp_path, tmp_path)) == "its clients cannot be counted"


def test_clients_and_shells_are_counted(tmp_path, monkeypatch):
    place = Place("web", tmp_path, tmp_path, tmp_path)
    monkeypatch.setattr(idleness, "clients", lambda _: 2)
    assert idleness.use_of(place) == "2 clients are connected to its sockets or ports"
    monkeypatch.setattr(idleness, "clients", lambda _: 0)
    assert idleness.use_of(place) == ""
    monkeypatch.setattr(idleness, "_PROC", proc := tmp_path / "proc")
    (proc / "self").mkdir(parents=True)
    for pid, line, parent in (
        (10, ["python", "-m", "haulout.machine", "web"], 1),
        (11, ["ssh", "-F", str(place.ssh_config), "web"], 10),
        (12, ["/usr/bin/ssh", "-F", str(place.ssh_config), "web"], 1),
    ):
        (proc / str(pid)).mkdir()
        (proc / str(pid) / "cmdline").write_text("\0".join([*line, ""]))
        (proc / str(pid) / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")
    (proc / "1").mkdir()
    (proc / "1/cmdline").write_text("init\0")
    assert idleness.use_of(place) == "1 ssh session is open"
