"""Ports for real, and a host that has no network but itself."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress

import pytest
from tests.support.machines import machines

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
