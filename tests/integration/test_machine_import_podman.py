"""Volumes of podman's machines are copied between real podmans, each with a storage of its own."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from tests.support.disks import noise, raw_disk
from tests.support.servers import needs

import haulout
from haulout import machines
from haulout.errors import ConflictError, NotFoundError, ToolError
from haulout.machine import Machines, PodmanMachine
from haulout.usecases import machine_import_podman

pytestmark = [pytest.mark.tools, needs("podman", "ssh-keygen")]


SSH = """#!/bin/sh
# Stands in for ssh: each user of each machine is a storage of podman's on this host.
where=ours
while [ $# -gt 0 ]; do
  case "$1" in
    -o|-i|-F) shift 2 ;;
    -p) where=theirs; shift 2 ;;
    -l) user=$2; shift 2 ;;
    --) shift ;;
    *@127.0.0.1) user=${1%%@*}; shift; break ;;
    *) shift; break ;;
  esac
done
[ "$where" = ours ] || [ ! -e %(home)s/down ] || exit 255
export CONTAINERS_STORAGE_CONF=%(home)s/$where-$user.conf
exec sh -c "$*"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A running machine of podman's, and a place for ours, which needs no boot."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    for name in ("theirs-core", "theirs-root", "ours-core", "ours-root"):
        lines = [
            "[storage]",
            'driver = "vfs"',
            f'graphroot = "{tmp_path}/{name}"',
            f'runroot = "{tmp_path}/run-{name}"',
        ]
        (tmp_path / f"{name}.conf").write_text("\n".join(lines))
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(SSH % {"home": tmp_path})
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    folder = tmp_path / "XDG_CONFIG_HOME/containers/podman/machine/qemu"
    folder.mkdir(parents=True)
    document = {
        "Version": 1,
        "Name": "old",
        "Resources": {"CPUs": 3, "DiskSize": 7, "Memory": 512},
        "Mounts": [{"Source": f"{tmp_path}/gone", "Target": "/gone"}, {"Source": str(tmp_path), "Target": "/t"}],
        "SSH": {"IdentityPath": f"{tmp_path}/key", "Port": 4321, "RemoteUsername": "core"},
    }
    (folder / "old.json").write_text(json.dumps(document))
    monkeypatch.setattr(machine_import_podman, "machine_start", lambda *_, **__: None)
    haulout.push("oci:m:1", raw_disk(tmp_path / "disk.raw"), architecture="x86_64", disk_type="applehv")
    return tmp_path


def podman(home, storage, *words):
    environment = os.environ | {"CONTAINERS_STORAGE_CONF": f"{home}/{storage}.conf"}
    return subprocess.run(
        ["podman", *words], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def file_of(home, storage, volume):
    return home / storage / "volumes" / volume / "_data/file"


def test_volumes_of_both_users_come_along_once(home):
    want = {"core/data": noise("1", 300_000), "core/more.data": noise("2", 300_000), "root/data": noise("3", 300_000)}
    for name, content in want.items():
        user, _, volume = name.partition("/")
        podman(home, f"theirs-{user}", "volume", "create", volume)
        path = file_of(home, f"theirs-{user}", volume)
        path.write_bytes(content)
        os.chown(path, 1234, 5678)
    done = machines.machine_import_podman("old", "oci:m:1", "new")
    assert (done.volumes, done.present) == (tuple(want), ())
    place = Machines.here().place("new")
    machine = place.load()
    assert machine.resources == machines.Resources(3, 512, 7)
    assert [each.target for each in machine.mounts] == ["/t"]
    for name, content in want.items():
        path = file_of(home, f"ours-{name.partition('/')[0]}", name.partition("/")[2])
        assert path.read_bytes() == content
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)
    file_of(home, "ours-core", "data").write_bytes(b"changed here")
    podman(home, "theirs-root", "volume", "create", "late")
    # A copy that was killed left half of this.
    file_of(home, "ours-core", "more.data").write_bytes(b"half")
    place.file("importing").write_text("core/more.data")
    again = machines.machine_import_podman("old", "oci:m:1", "new")
    assert (again.volumes, again.present) == (("core/more.data", "root/late"), ("core/data", "root/data"))
    assert file_of(home, "ours-core", "data").read_bytes() == b"changed here"
    assert file_of(home, "ours-core", "more.data").read_bytes() == want["core/more.data"]
    assert not place.file("importing").exists()


def test_what_fails_leaves_no_half_volume(home, monkeypatch):
    with pytest.raises(NotFoundError, match="no machine nobody"):
        machines.machine_import_podman("nobody", "oci:m:1")
    with pytest.raises(NotFoundError):
        machines.machine_import_podman("../qemu/old", "oci:m:1", "new")
    (home / "down").touch()
    with pytest.raises(ConflictError, match="does not answer"):
        machines.machine_import_podman("old", "oci:m:1", "new")
    assert not Machines.here().place("new").exists()
    (home / "down").unlink()
    podman(home, "theirs-core", "volume", "create", "data")
    real = PodmanMachine.ssh
    monkeypatch.setattr(
        PodmanMachine, "ssh", lambda self, user, words: real(self, user, ["false"] if "export" in words else words)
    )
    with pytest.raises(ToolError):
        machines.machine_import_podman("old", "oci:m:1", "new")
    assert podman(home, "ours-core", "volume", "ls", "-q") == ""
