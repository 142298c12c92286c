"""A machine's sockets, for real: hundreds of clients, a restart, sleep, and who is told of them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.machines import ask, listed, machines, supervisor, vm

SLEEP_SECONDS = float(os.environ.get("HAULOUT_TEST_SLEEP_SECONDS", "3"))
"""A night is long: 60 is what docs promise."""
AWAKE_SECONDS = 15
CLOCK_SECONDS = 2
MIB = 1 << 20
pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(900 + 4 * SLEEP_SECONDS)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A sandbox with a machine ``web`` that runs; podman and docker are told of it in files of the sandbox's own."""
    with machines(tmp_path_factory.mktemp("sockets")) as made:
        connections = made.path / "containers.conf"
        connections.write_text(
            '[engine]\n[engine.service_destinations]\n[engine.service_destinations.web-root]\nuri = "unix:///foreign.sock"\n'
        )
        made.environment.update(
            CONTAINERS_CONF=str(connections), PODMAN_CONNECTIONS_CONF=str(made.path / "connections.json")
        )
        done = made.haulout(
            "machine", "init", "web", "oci:machines:5.0", "--cpus", "1", "--memory", "256", "--disk", "1"
        )
        assert done.code == 0, done.err
        done = made.haulout("machine", "start", "web")
        assert done.code == 0, done.err
        made.environment["STARTED"] = done.err
        yield made


def path_of(place, name):
    return Path(place.environment["XDG_RUNTIME_DIR"], "haulout/web", f"{name}.sock")


def ping(link):
    link.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\nOK"):
        piece = link.recv(4096)
        if not piece:
            raise EOFError(answer)
        answer += piece


class Pinging(threading.Thread):
    """Asks ``/_ping`` again and again, as monitors do: with a new connection, or with one that is kept open."""

    def __init__(self, place, name, *, keep):
        super().__init__()
        self.path, self.keep = str(path_of(place, name)), keep
        self.answers, self.errors = 0, []
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(150)
                asked = 0
                try:
                    link.connect(self.path)
                    while not self.over.is_set() and (self.keep or not asked):
                        ping(link)
                        asked += 1
                        self.answers += 1
                        self.over.wait(0.05)
                except (OSError, EOFError) as error:
                    # HTTP's libraries connect again where a connection that was idle has ended.
                    if not asked:
                        self.errors.append(repr(error))


@contextmanager
def pinging(place):
    """Ping all the time, and demand that no client saw an error."""
    clients = [Pinging(place, name, keep=keep) for name in ("podman", "podman-root") for keep in (False, True)]
    try:
        yield clients
    finally:
        for client in clients:
            client.over.set()
        for client in clients:
            client.join()
    assert [client.errors for client in clients] == [[]] * 4
    assert all(client.answers for client in clients)


def test_no_client_sees_an_error_while_the_machine_restarts(place):
    with pinging(place) as clients:
        before = [client.answers for client in clients]
        assert place.haulout("machine", "restart", "web").code == 0
        deadline = time.monotonic() + 60
        while any(client.answers < count + 3 for client, count in zip(clients, before, strict=True)):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_nor_when_the_guest_reboots_by_itself(place):
    with pinging(place) as clients:
        place.haulout("machine", "ssh", "web", "--user", "root", "--", "reboot", "-f")
        deadline = time.monotonic() + 150
        while listed(place)["web"]["state"] != "starting":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = [client.answers for client in clients]
        while any(client.answers < count + 3 for client, count in zip(clients, before, strict=True)):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_many_clients_at_once(place):
    """Forty, since the tiny guest starts a shell for each; three hundred are in the tests of the forwarder."""
    with ThreadPoolExecutor(40) as pool:

        def one(number):
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(120)
                link.connect(str(path_of(place, ("podman", "podman-root")[number % 2])))
                ping(link)

        list(pool.map(one, range(40)))


def test_a_shell_has_more_sessions_than_one_connection_of_ssh(place):
    commands = ["haulout machine ssh web -- sh -c 'sleep 1; echo done'"] * 12
    done = place.shell(f"{' & '.join(commands)} & wait")
    # Two of them are refused on the first connection, which ssh says, and make their own.
    assert done.out.splitlines() == ["done"] * 12, done.err


def test_after_sleep_the_clock_is_right_and_sockets_answer(place):
    for asleep in ((vm(place, "web"),), (vm(place, "web"), supervisor(place, "web"))):
        pids = [found[0] for found in asleep]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(SLEEP_SECONDS)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        began = time.monotonic()
        for name in ("podman", "podman-root"):
            assert ask(place, name, "/_ping") == b"OK"
        assert time.monotonic() - began < AWAKE_SECONDS
        right_within(place, began + AWAKE_SECONDS)


def test_a_clock_that_is_wrong_is_set(place):
    for wrong_by in (-3600, 86400):
        began = time.monotonic()
        order = ("date", "-u", "-s", f"@{time.time() + wrong_by:.0f}")
        assert place.haulout("machine", "ssh", "web", "--user", "root", "--", *order).code == 0
        right_within(place, began + AWAKE_SECONDS)


def right_within(place, deadline):
    """Wait until the guest's clock is right: it tells whole seconds, between two looks at ours."""
    while True:
        before = time.time()
        told = int(place.haulout("machine", "ssh", "web", "--", "date", "+%s").out)
        if before - CLOCK_SECONDS - 1 <= told <= time.time() + CLOCK_SECONDS:
            return
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")
def test_podman_has_connections_and_what_others_made_stays(place):
    listing = ("podman", "system", "connection", "list", "--format", "{{.Name}} {{.URI}}")

    def connections():
        out = subprocess.run(listing, env=place.environment, capture_output=True, text=True, check=True).stdout
        return {line.split()[0].rstrip("*"): line.split()[-1] for line in out.splitlines()}

    assert "podman has a connection web-root already, which was left as it is" in place.environment["STARTED"]
    assert connections() == {"web": f"unix://{path_of(place, 'podman')}", "web-root": "unix:///foreign.sock"}
