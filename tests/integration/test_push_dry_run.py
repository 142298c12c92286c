"""``push --dry-run`` says what a push would do, and asks a registry for nothing that changes it."""

from __future__ import annotations

import json
from functools import partial

import pytest
from tests.support.disks import MIB, noise, raw_disk
from tests.support.servers import docker_registry, needs

from haulout.cli.main import main
from haulout.progress import BlobTotal
from haulout.usecases.push import DiskSource, push

pytestmark = [pytest.mark.usefixtures("own_places")]


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disks")
    first = raw_disk(folder / "1.raw", data_mib=4, size_mib=16)
    data = bytearray(first.read_bytes())
    data[8 * MIB : 9 * MIB] = noise("fix", MIB)
    second = folder / "2.raw"
    second.write_bytes(data)
    return first, second


@pytest.mark.tools
@needs("docker-registry")
@pytest.mark.parametrize("container_disk", [False, True])
def test_a_registry_is_only_read(tmp_path, disks, container_disk):
    with docker_registry(tmp_path) as server:
        for number, disk in enumerate(disks):
            # The second has a base, and a delta from it.
            go = partial(
                push,
                f"{server.host}/team/machine:{number}",
                disk,
                architecture="amd64",
                level=1,
                container_disk=container_disk,
                tags=["latest"],
                delta_from=[f"{server.host}/team/machine:0"] if number else [],
            )
            before = len(server.accesses())
            dry = go(dry_run=True)
            assert {access.method for access in server.accesses()[before:]} <= {"GET", "HEAD"}

            before = len(server.accesses())
            real = go()
            assert dry.index == real.index
            # Which frames it takes from the base depends on how fast each comes.
            assert [(disk.manifest, disk.status) for disk in dry.disks] == [
                (disk.manifest, disk.status) for disk in real.disks
            ]
            assert (dry.container_disks, dry.tags) == (real.container_disks, ("latest",))
            assert [delta.manifest for delta in dry.deltas] == [delta.manifest for delta in real.deltas]
            puts = [access for access in server.accesses()[before:] if access.method == "PUT"]
            assert dry.missing is not None
            assert dry.missing.count == len([access for access in puts if "digest=" in access.path])
            assert 0 < dry.missing.size < real.traffic.sent < dry.missing.size + 20_000
        again = go(dry_run=True)
        assert again.missing == BlobTotal(0, 0)
        assert [disk.status for disk in again.disks] == ["present"]


def test_a_layout_is_not_made(tmp_path, disks):
    layout = tmp_path / "machines"
    dry = push(f"oci:{layout}:1", DiskSource(disks[0], "amd64"), dry_run=True)
    assert not layout.exists()
    assert dry.index == push(f"oci:{layout}:1", DiskSource(disks[0], "amd64")).index
    files = sorted(layout.rglob("*"))
    assert push(f"oci:{layout}:2", DiskSource(disks[1], "amd64"), dry_run=True).disks[0].status == "pushed"
    assert sorted(layout.rglob("*")) == files


def test_the_command_says_so(tmp_path, disks, capsys):
    arguments = ["push", f"oci:{tmp_path / 'machines'}:1", str(disks[0]), "--tag", "latest"]
    assert main([*arguments, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "would push 1 disk to" in text
    assert "4 blobs to send" in text
    assert "to push" in text
    assert "would also tag latest" in text
    assert main([*arguments, "--dry-run", "--json"]) == 0
    stated = json.loads(capsys.readouterr().out)
    assert stated["dry_run"] is True
    assert stated["missing"]["count"] == 4
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] is None
