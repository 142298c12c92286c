"""Ports for real, and a host that has no network but itself."""

from __future__ import annotations

import json
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.machines import machines, vm

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(900)]


def greets(port):
    """Whether a server of ssh answers at a port of this host."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as link:
        link.settimeout(20)
        return link.recv(4) == b"SSH-"
    return False


def test_ports_change_at_once_and_one_that_is_taken_is_named(tmp_path):
    with machines(tmp_path) as place, socket.create_server(("127.0.0.1", 0)) as busy:
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            first, second = one.getsockname()[1], two.getsockname()[1]
        taken = busy.getsockname()[1]
        options = ("--cpus", "1", "--memory", "256", "--disk", "1")
        made = place.haulout("machine", "init", "web", "oci:machines:5.0", *options, "-p", f"{taken}:22")
        assert made.code == 0, made.err
        refused = place.haulout("machine", "start", "web", "--no-connect")
        assert refused.code != 0
        assert f"port {taken} (tcp) of this host is taken" in refused.err

        assert place.haulout("machine", "set", "web", "--publish", f"{first}:22").code == 0
        assert place.haulout("machine", "start", "web", "--no-connect").code == 0
        assert greets(first)
        changed = place.haulout("machine", "set", "web", "-p", f"{second}:22", "-p", f"{second}:53/udp")
        assert (changed.code, "restart" in changed.out) == (0, False), changed.err
        assert (greets(first), greets(second)) == (False, True)
        refused = place.haulout("machine", "set", "web", "-p", f"{taken}:22")
        assert refused.code != 0
        assert f"port {taken} (tcp) of this host is taken" in refused.err
        assert greets(second)
        found = place.haulout("machine", "inspect", "web", "--json").json["machine"]["forwards"]
        assert [each["host"] for each in found] == [second, second]
        check_restart(place, tmp_path, taken)


def check_restart(place, tmp_path, taken):
    """A machine that could not start again is left running, and the reason told."""
    running = vm(place, "web")
    folder = Path(place.environment["XDG_DATA_HOME"], "haulout")
    file = folder / "machines/web/machine.json"
    whole, document = file.read_text(), json.loads(file.read_text())

    def refused(says, environment=None, **changes):
        file.write_text(json.dumps({**document, **changes}))
        done = place.haulout("machine", "restart", "web", **(environment or {}))
        file.write_text(whole)
        assert (done.code != 0, vm(place, "web") == running, says in done.err) == (True, True, True), done.err

    gone = {"source": f"{tmp_path}/gone", "target": "/a", "read_only": False}
    refused("gone: is a mount of the machine", mounts=[gone])
    refused("two mounts have the target /a", mounts=[{**gone, "source": str(tmp_path)}] * 2)
    refused(f"port {taken} (tcp) of this host is taken", forwards=[{"host": taken, "guest": 22, "protocol": "tcp"}])
    refused("named twice", forwards=[{"host": 9999, "guest": each, "protocol": "tcp"} for each in (22, 23)])
    refused("no-ca.pem", ca=[f"{tmp_path}/no-ca.pem"])
    refused("newer haulout", schema=99)
    refused("apt install qemu-system-x86", {"PATH": str(tmp_path / "bin")})
    (image,) = (folder / "images").glob("sha256-*[0-9a-f]")
    image.rename(folder / "away")
    refused("the base image of the machine is gone")
    (folder / "away").rename(image)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root, and ip of iproute2")
def test_a_machine_starts_on_a_host_without_routes_and_names(tmp_path):
    with machines(tmp_path) as place:
        made = place.shell("haulout machine init web oci:machines:5.0 --cpus 1 --memory 256 --disk 1")
        assert made.code == 0, made.err
        alone = (
            "ip link set lo up; ip route; haulout machine start web --no-connect && "
            "haulout machine ssh web -- echo ready && haulout machine stop web --wait 0"
        )
        done = place.shell(f"unshare --net sh -c '{alone}'")
        assert (done.code, "ready" in done.out.splitlines()) == (0, True), done.err
