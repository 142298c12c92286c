"""A machine without any network: no interface but loopback, and no name server."""

from __future__ import annotations

import os

import pytest
from tests.support.machines import machines
from tests.support.servers import needs

pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    needs("unshare", "ip"),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace, as root"),
]


def test_a_machine_starts_without_network_and_without_dns(tmp_path):
    with machines(tmp_path) as place:
        made = place.shell("haulout machine init web oci:machines:5.0 --cpus 1 --memory 256 --disk 1")
        assert made.code == 0, made.err
        (place.path / "offline.sh").write_text(
            "set -e; ip link set lo up; mount --bind /dev/null /etc/resolv.conf; haulout machine start web --no-connect\n"
            "haulout machine ssh web -- echo reached; haulout machine stop web --wait 0\n"
        )
        done = place.shell("unshare --net --mount --propagation private sh offline.sh 2>&1")
        assert done.code == 0, done.out
        assert "web is running" in done.out
        assert "reached" in done.out
