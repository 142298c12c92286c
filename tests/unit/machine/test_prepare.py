"""A machine's files before a start: what is there is kept, what is wrong is told before anything runs."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from tests.support.servers import find, needs
from tests.unit.machine.guest.test_seed import KEY, THEIRS
from tests.unit.machine.test_model import MACHINE

from haulout.errors import StorageError, ToolError
from haulout.machine import DiskKind, Firmware, Image, Mount, Place, Resources
from haulout.machine.qemu.files import prepare

pytestmark = [pytest.mark.tools]
MINE = replace(
    MACHINE,
    image=Image(MACHINE.image.reference, MACHINE.image.pinned, DiskKind.RAW),
    firmware=Firmware.BIOS,
    mounts=(),
    resources=Resources(1, 64, 1),
)


@pytest.fixture
def place(tmp_path):
    made = Place("web", tmp_path / "web", tmp_path / "run", tmp_path / "images")
    for folder in (made.folder, made.runtime, made.images):
        folder.mkdir()
    made.base(MINE).write_bytes(b"system")
    os.truncate(made.base(MINE), 1 << 20)
    made.file("key.pub").write_text(f"{KEY}\n")
    return made


@needs("qemu-img")
def test_what_a_user_adds_is_part_of_the_seeds(place):
    prepare(MINE, place, "x86_64")
    assert place.file("seed/user-data").read_text().startswith("#cloud-config")
    assert "config" not in json.loads(place.file("ignition.json").read_text())["ignition"]
    place.file("user-data.added").write_bytes(THEIRS)
    place.file("ignition.added").write_bytes(b'{"ignition": {"version": "3.2.0"}}')
    prepare(MINE, place, "x86_64")
    assert place.file("seed/user-data").read_text().startswith("Content-Type: multipart/mixed")
    assert "merge" in json.loads(place.file("ignition.json").read_text())["ignition"]["config"]


@needs("qemu-img")
def test_the_data_disk_grows_keeps_what_is_on_it_and_never_shrinks(place):
    prepare(MINE, place, "x86_64")
    data = place.file("data.raw")
    with data.open("r+b") as file:
        file.write(b"kept")
    for wanted, size in ((3, 3), (2, 3)):
        prepare(replace(MINE, resources=Resources(1, 64, wanted)), place, "x86_64")
        assert data.stat().st_size == size << 30
    with data.open("rb") as file:
        assert file.read(4) == b"kept"
    assert data.stat().st_blocks * 512 < 1 << 20


@needs("qemu-img")
def test_a_changed_base_and_a_missing_mount_are_told(place, tmp_path):
    prepare(MINE, place, "x86_64")
    with pytest.raises(StorageError, match="a mount of the machine"):
        prepare(replace(MINE, mounts=(Mount(str(tmp_path / "gone"), "/a"),)), place, "x86_64")
    with place.base(MINE).open("r+b") as file:
        file.write(b"SYSTEM")
    os.utime(place.base(MINE), ns=(1, 1))
    with pytest.raises(StorageError, match="was changed since it was verified"):
        prepare(MINE, place, "x86_64")
    place.base(MINE).unlink()
    with pytest.raises(StorageError, match="is gone"):
        prepare(MINE, place, "x86_64")


@needs("qemu-img", "ssh", "qemu-system-x86_64")
@pytest.mark.parametrize(
    ("missing", "package"),
    [("qemu-system-x86_64", "qemu-system-x86"), ("ssh", "openssh-client"), ("qemu-img", "qemu-utils")],
)
def test_what_is_not_installed_is_named_with_its_package(place, tmp_path, monkeypatch, missing, package):
    (tmp_path / "bin").mkdir()
    for name in {"qemu-system-x86_64", "ssh", "qemu-img"} - {missing}:
        (tmp_path / "bin" / name).symlink_to(str(find(name)))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(ToolError, match=f"{missing}: is not installed") as caught:
        prepare(MINE, place, "x86_64")
    assert caught.value.hint == f"install it: apt install {package}"
