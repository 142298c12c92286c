"""What cannot be done is said in one line, and the next one is the way out."""

from __future__ import annotations

import subprocess

import pytest
from tests.support.disks import qemu_encrypts, raw_disk
from tests.support.servers import needs
from tests.support.simulators.registry import SimulatedRegistry

from haulout.cli.main import main

pytestmark = pytest.mark.usefixtures("own_places")


@pytest.fixture
def said(capsys):
    """Run a command that fails; return its line and its hint."""

    def run(*arguments: object) -> tuple[str, str]:
        assert main([str(argument) for argument in arguments]) not in {0, 70}
        line, *hint = capsys.readouterr().err.splitlines()
        assert len(hint) == 1, hint
        return line, hint[0].strip()

    return run


@pytest.mark.parametrize("verb", [("tags",), ("prune", "--keep", "2"), ("prune", "--untagged")])
def test_a_repository_that_is_not_there(said, verb):
    name, *options = verb
    with SimulatedRegistry() as server:
        line, hint = said(name, f"{server.host}/team/nothing", *options)
    assert "team/nothing" in line
    assert hint == f"hint: check the repository's name; if it is not for everybody: haulout login {server.host}"


def test_a_tag_to_delete_that_is_not_there(said, tmp_path, capsys):
    disk = raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=2)
    with SimulatedRegistry() as server:
        at = f"{server.host}/team/machine"
        _, hint = said("delete", f"{at}:5.1")
        assert "haulout login" in hint
        assert main(["push", f"{at}:5.0", str(disk)]) == 0
        capsys.readouterr()
        assert said("delete", f"{at}:5.1") == (f"haulout: no tag 5.1 in {at}", "hint: there are 5.0")


@pytest.fixture
def luks(tmp_path):
    path = tmp_path / "luks.img"
    secret = ("--object", "secret,id=s,data=x", "-o", "key-secret=s,iter-time=10")
    qemu_encrypts("create", "-q", "-f", "luks", *secret, path, "2M")
    return path


@needs("qemu-img")
def test_a_whole_luks_volume(said, luks, tmp_path):
    for more in ([], ["--force"]):
        line, hint = said("push", f"oci:{tmp_path / 'l'}:1", luks, *more)
        assert "LUKS" in line
        assert "cryptsetup open" in hint
        assert "haulout cw build" in hint


@needs("qemu-img")
def test_a_fixed_vhd_that_begins_as_something_else(said, luks, tmp_path):
    # By its beginning it is another thing, and by its end a VHD.
    vhd, raw = tmp_path / "disk.vhd", tmp_path / "disk.raw"
    options = ("-o", "subformat=fixed,force_size=on")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", *options, luks, vhd], check=True)
    line, hint = said("push", f"oci:{tmp_path / 'l'}:1", vhd)
    assert "vhd" in line
    assert hint.endswith("take the disk out of it first: qemu-img convert -f vpc -O raw FILE disk.raw")
    # It leads on.
    subprocess.run(["qemu-img", "convert", "-f", "vpc", "-O", "raw", vhd, raw], check=True)
    assert "LUKS" in said("push", f"oci:{tmp_path / 'l'}:1", raw)[0]


def test_a_container_disk_of_what_no_machine_of_kubevirt_boots(said, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=x")
    tar = tmp_path / "w.tar"
    subprocess.run(["tar", "-C", tmp_path, "-cf", tar, "etc"], check=True)
    line, hint = said("push", f"oci:{tmp_path / 'l'}:1", tar, "--container-disk")
    assert "qcow2 or raw" in line
    assert hint.startswith("hint: leave --container-disk out")
