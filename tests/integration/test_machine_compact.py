"""What is deleted in a machine comes back: by its stop, and by ``machine compact``."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.support.disks import MIB, noise
from tests.support.machines import machines as sandboxed
from tests.support.servers import needs

from haulout import machines
from haulout.machine import Machines

pytestmark = pytest.mark.tools


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """The data disk of a machine that was killed, before it runs again."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    place = Machines.here().place("web")
    place.folder.mkdir(parents=True)
    document = {
        "schema": 1,
        "name": "web",
        "id": "e1b5081c-e5e6-4be2-bd23-5cb034bf9cb6",
        "created": "now",
        "provider": "qemu",
        "image": {"reference": "oci:m:1", "pinned": f"oci:m@sha256:{'0' * 64}", "format": "raw"},
        "resources": {"cpus": 1, "memory": 256, "disk": 1},
    }
    place.file("machine.json").write_text(json.dumps(document))
    return place.file("data.raw")


@needs("mke2fs", "debugfs", "e2fsck")
def test_free_blocks_of_a_machine_that_was_killed_come_back(disk, tmp_path):
    (tmp_path / "big").write_bytes(noise("big", 20 * MIB))
    (tmp_path / "kept").write_bytes(noise("kept", MIB))
    subprocess.run(["mke2fs", "-q", "-t", "ext4", disk, "64M"], check=True)
    for request in (f"write {tmp_path}/big big", f"write {tmp_path}/kept kept", "rm big"):
        subprocess.run(["debugfs", "-w", "-R", request, disk], check=True, capture_output=True)
    held = disk.stat().st_blocks * 512
    assert held > 21 * MIB
    done = machines.machine_compact("web")
    assert (done.before, done.running) == (held, False)
    assert done.after == disk.stat().st_blocks * 512 < 6 * MIB
    assert disk.stat().st_size == 64 * MIB
    subprocess.run(["debugfs", "-R", f"dump kept {tmp_path}/out", disk], check=True, capture_output=True)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "kept").read_bytes()
    assert subprocess.run(["e2fsck", "-f", "-n", disk], check=False, capture_output=True).returncode == 0


def test_zeros_become_holes_whatever_is_on_the_disk(disk):
    content = noise("other", MIB) + bytes(3 * MIB) + noise("another", MIB)
    disk.write_bytes(content)
    done = machines.machine_compact("web")
    assert done.after == done.before - 3 * MIB
    assert disk.read_bytes() == content


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_machine_gives_back_what_was_deleted_in_it(tmp_path):
    with sandboxed(tmp_path) as place:
        made = place.haulout(
            "machine", "init", "web", "oci:machines:5.0", "--cpus", "1", "--memory", "256", "--disk", "1"
        )
        assert made.code == 0, made.err
        assert place.haulout("machine", "start", "web").code == 0
        data = tmp_path / "data/haulout/machines/web/data.raw"
        before = data.stat().st_blocks * 512
        fill = "head -c 100000000 /dev/urandom >/var/lib/data/big; sync"
        assert place.haulout("machine", "ssh", "web", "--user", "root", "--", "sh", "-c", fill).code == 0
        full = data.stat().st_blocks * 512
        assert full > before + 90_000_000
        assert (
            place.haulout(
                "machine", "ssh", "web", "--user", "root", "--", "sh", "-c", "rm /var/lib/data/big; sync"
            ).code
            == 0
        )
        done = place.haulout("machine", "compact", "web", "--json")
        assert done.code == 0, done.err
        assert data.stat().st_blocks * 512 <= full - 90_000_000
        assert done.json["running"]
        assert (
            place.haulout(
                "machine", "ssh", "web", "--user", "root", "--", "sh", "-c", fill + "; rm /var/lib/data/big"
            ).code
            == 0
        )
        assert place.haulout("machine", "stop", "web").code == 0
        assert data.stat().st_blocks * 512 <= before * 1.05
