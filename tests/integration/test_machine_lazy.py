"""Machines that start before their disk is here: the tiny image, a server that is killed, a registry that comes and goes.

For a minute or two, with ``HAULOUT_TEST_LAZY=1`` (``make test-lazy``). What lazy starts promise otherwise is in
tests/unit/lazy, test_lazy_clients.py, and the examples that test_machine.py runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.disks import sha256
from tests.support.machines import listed, machines, processes, rootless, tiny_image, until, vm
from tests.support.servers import docker_registry, needs

pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    needs("docker-registry"),
    pytest.mark.skipif("HAULOUT_TEST_LAZY" not in os.environ, reason="HAULOUT_TEST_LAZY is not set: it takes minutes"),
]
SHAPE = ("--cpus", "1", "--memory", "256", "--disk", "1")


class Registry:
    """A docker-registry that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "blobs"
        self.port: int | None = None
        self.stack = ExitStack()
        self.start()

    def start(self) -> None:
        server = self.stack.enter_context(docker_registry(self.folder, root=self.root, port=self.port))
        self.port, self.host = server.port, server.host

    def stop(self) -> None:
        self.stack.close()


@pytest.fixture
def place(tmp_path):
    with machines(tmp_path) as made:
        yield made


@pytest.fixture
def registry(place, tmp_path):
    found = Registry(tmp_path)
    try:
        copied = place.haulout("copy", "oci:machines:5.0", f"{found.host}/machines:5.0")
        assert copied.code == 0, copied.err
        yield found
    finally:
        found.stop()


def images(place):
    return Path(place.environment["XDG_DATA_HOME"]) / "haulout/images"


def whole(place):
    return [each for each in images(place).glob("sha256-*") if "." not in each.name]


def servers(place):
    return processes(rf"haulout\.lazy {images(place)}/")


def begun(place, *words):
    return subprocess.Popen(["haulout", *words], env=place.environment, stderr=subprocess.PIPE, text=True)


def ssh(place, name, *words):
    done = place.haulout("machine", "ssh", name, "--user", "root", "--", *words)
    assert done.code == 0, done.err
    return done.out


def test_a_boot_survives_its_server_and_its_registry(place, registry):
    made = place.haulout("machine", "init", "new", f"{registry.host}/machines:5.0", "--lazy", *SHAPE)
    assert made.code == 0, made.err
    assert listed(place)["new"]["disk_missing"] > 20 << 20
    with begun(place, "machine", "start", "new", "--lazy", "--no-connect") as start:
        until(lambda: vm(place, "new"), 180)
        first = servers(place)
        assert len(first) == 1
        time.sleep(1.0)
        os.kill(first[0], signal.SIGKILL)
        registry.stop()
        until(lambda: servers(place) not in ([], first), 180)
        until(lambda: listed(place)["new"]["disk_waits_for"], 180)
        assert start.poll() is None, "it waits"
        registry.start()
        said = start.communicate(timeout=300)[1]
        assert start.returncode == 0, said
    assert rootless(place, "new") == [True, False]
    until(lambda: whole(place), 180)
    assert sha256(whole(place)[0]) == sha256(tiny_image())
    assert listed(place)["new"]["disk_missing"] == 0

    # QEMU knows the disk as a served one until its next start.
    registry.stop()
    os.kill(servers(place)[0], signal.SIGKILL)
    subprocess.run(["qemu-img", "convert", "-O", "raw", tiny_image(), place.path / "raw"], check=True)
    assert ssh(place, "new", "sha256sum", "/dev/vda").split()[0] == sha256(place.path / "raw")
    assert place.haulout("machine", "stop", "new").code == 0
    until(lambda: not servers(place), 180)
    again = place.haulout("machine", "start", "new", "--no-connect")
    assert again.code == 0, again.err
    assert not servers(place)
    assert rootless(place, "new") == [True, False]


def test_what_throw_away_machines_fetched_is_kept_and_shared(place, registry):
    ref = f"{registry.host}/machines:5.0"
    assert place.haulout("machine", "init", "web", ref, *SHAPE).code == 0
    recorded = place.haulout("machine", "record", "web", "--push", "--json")
    assert recorded.code == 0, recorded.err
    assert recorded.json["size"] > 10 << 20
    assert list(listed(place)) == ["web"]
    assert place.haulout("machine", "rm", "web", "--data").code == 0
    assert not whole(place), "it was no lazy one"
    two = [begun(place, "run", "--ephemeral", "--lazy", "--name", name, "--cpus", "1", "--memory", "256", ref, "--", "true")
           for name in ("one", "two")]  # fmt: skip
    seen: Counter[int] = Counter()
    while any(each.poll() is None for each in two):
        seen[len(servers(place))] += 1
        time.sleep(0.1)
    for each in two:
        said = each.communicate()[1]
        assert each.returncode == 0, said
    # Both may start one at once; the second sees the first, and ends.
    assert seen[1] > seen[2], "one server for both"
    until(lambda: not servers(place), 180)
    assert not listed(place)
    assert list(images(place).iterdir()), "what came is kept"
    assert place.haulout("run", "--ephemeral", "--lazy", "--name", "four", ref, "--", "true").code == 0


def test_a_plain_start_fetches_the_rest_first(place, registry):
    made = place.haulout("machine", "init", "new", f"{registry.host}/machines:5.0", "--lazy", *SHAPE)
    assert made.code == 0, made.err
    registry.stop()
    refused = place.haulout("machine", "start", "new", "--no-connect")
    assert refused.code != 0
    assert "start --lazy does not wait for it" in refused.err
    registry.start()
    started = place.haulout("machine", "start", "new", "--no-connect")
    assert started.code == 0, started.err
    assert len(whole(place)) == 1
    assert not servers(place)
