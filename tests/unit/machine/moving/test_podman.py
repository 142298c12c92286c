"""The files of podman's machines, as podman 5 and 6 write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from haulout.errors import InvalidFile
from haulout.local import wrong_file
from haulout.machine import Mount, Resources
from haulout.machine.moving.podman import parse_podman

FILES = Path(__file__).parent / "podman"
IMAGES = ".local/share/containers/podman/machine"


def parsed(text):
    return parse_podman(text, wrong_file(Path("machine.json")))


def test_podman_5_with_qemu():
    found = parsed((FILES / "qemu-5.json").read_bytes())
    assert found.name == "podman-machine-default"
    assert found.resources == Resources(4, 4096, 100)
    assert found.mounts == (Mount("/home/anna", "/home/anna"), Mount("/srv", "/srv", read_only=True))
    assert found.image == f"/home/anna/{IMAGES}/qemu/podman-machine-default-amd64.qcow2"
    assert found.users == (("core", "core"), ("root", "root"))
    line = found.ssh("root", ["podman", "info"])
    assert line[-3:] == ["root@127.0.0.1", "podman", "info"]
    assert line[line.index("-i") + 1 : line.index("-i") + 4] == [f"/home/anna/{IMAGES}/machine", "-p", "41371"]


def test_podman_6_with_the_hypervisor_of_macos():
    found = parsed((FILES / "applehv-6.json").read_bytes())
    assert (found.name, found.resources, found.mounts) == ("work", Resources(6, 8192, 60), ())
    assert (found.port, found.image) == (51234, f"/Users/anna/{IMAGES}/applehv/work-arm64.raw")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"Version": 0}, "podman 4"),
        ({"Version": None}, "podman 4"),
        ({"Resources": None}, "CPUs"),
        ({"Resources": {"CPUs": 4, "DiskSize": 100, "Memory": 1}}, "Memory"),
        ({"SSH": {"Port": 0, "IdentityPath": "/k", "RemoteUsername": "core"}}, "Port"),
        ({"SSH": {"Port": 9, "IdentityPath": "/k", "RemoteUsername": "-oProxyCommand=x"}}, "RemoteUsername"),
        ({"Mounts": {}}, "Mounts"),
    ],
)
def test_what_is_wrong_is_named(change, what):
    document = json.loads((FILES / "qemu-5.json").read_bytes()) | change
    with pytest.raises(InvalidFile, match=what):
        parsed(json.dumps(document))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_file_is_one(text):
    with pytest.raises(InvalidFile):
        parsed(text)
