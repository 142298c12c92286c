"""A machine without any network: no interface but loopback, and no name server."""

from __future__ import annotations

import os
import subprocess

import pytest
import trustme
from tests.support.machines import machines
from tests.support.servers import needs

pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    needs("unshare", "ip"),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace, as root"),
]


@pytest.mark.long
def test_a_machine_starts_without_network_and_without_dns(tmp_path):
    with machines(tmp_path) as place:
        trustme.CA().cert_pem.write_to_path(str(place.path / "ca.pem"))
        made = place.shell("haulout machine init web oci:machines:5.0 --cpus 1 --memory 256 --disk 1 --ca ca.pem")
        assert made.code == 0, made.err
        (place.path / "offline.sh").write_text(
            "set -e; ip link set lo up; mount --bind /dev/null /etc/resolv.conf; haulout machine start web --no-connect\n"
            "haulout machine ssh web -- echo reached; haulout machine stop web --wait 0\n"
        )
        done = subprocess.run(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "offline.sh"], cwd=place.path,
            env=place.environment, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "web is running" in done.stdout
        assert "reached" in done.stdout
        assert "web: the machine could not be made to trust the CA certificates" in done.stderr, "it has no tool"
