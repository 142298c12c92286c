"""Overlays, and what a disk boots by."""

from __future__ import annotations

import json
import struct
import subprocess

import pytest
from tests.support.servers import needs

from haulout.disk import DiskFormat, commit_overlay, create_overlay, grow_overlay, has_efi_partition, overlay_size
from haulout.errors import StorageError

pytestmark = [pytest.mark.tools, needs("qemu-img")]
ESP = "28732ac11ff8d211ba4b00a0c93ec93b"
LINUX = "af3dc60f838472478e793d69d8477de4"


def gpt(path, *types):
    """Write a disk with a GPT that has partitions of these types."""
    header = bytearray(512)
    header[:8] = b"EFI PART"
    struct.pack_into("<II", header, 80, 128, 128)
    entries = b"".join(bytes.fromhex(each) + bytes(112) for each in types)
    path.write_bytes(bytes(512) + header + entries.ljust(128 * 128, b"\0") + bytes(1 << 20))
    return path


@pytest.mark.parametrize(("types", "expected"), [([LINUX, ESP], True), ([LINUX], False), ([], False)])
@pytest.mark.parametrize("kind", [DiskFormat.RAW, DiskFormat.QCOW2])
def test_a_disk_with_an_efi_partition_is_seen(tmp_path, types, expected, kind):
    path = gpt(tmp_path / "disk.raw", *types)
    if kind is DiskFormat.QCOW2:
        path = tmp_path / "disk.qcow2"
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", tmp_path / "disk.raw", path], check=True)
    assert has_efi_partition(path, kind) is expected


def test_a_disk_without_a_table_and_a_tiny_one_have_none(tmp_path):
    for size in (512, 1 << 20):
        path = tmp_path / f"{size}.raw"
        path.write_bytes(bytes(size))
        assert not has_efi_partition(path, DiskFormat.RAW)


def test_an_overlay_holds_nothing_at_first(tmp_path):
    base = gpt(tmp_path / "base.raw", LINUX)
    create_overlay(base, DiskFormat.RAW, tmp_path / "over.qcow2", 8 << 20)
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", tmp_path / "over.qcow2"]))
    assert (info["format"], info["virtual-size"], info["backing-filename"]) == ("qcow2", 8 << 20, str(base))
    assert {path.name for path in tmp_path.iterdir()} == {"base.raw", "over.qcow2"}


@needs("qemu-io")
def test_what_an_overlay_holds_goes_into_its_base_and_holes_stay_holes(tmp_path):
    base, overlay = tmp_path / "base, odd.raw", tmp_path / "overlay.qcow2"
    with base.open("wb") as file:
        file.truncate(1 << 30)
        for at in (0, 100 << 20):
            file.seek(at)
            file.write(b"b" * (4 << 20))
    create_overlay(base, DiskFormat.RAW, overlay, 1 << 30)
    # The base that the header names is gone, as that of a copied machine may be.
    base = base.rename(tmp_path / "base, moved.raw")
    grow_overlay(overlay, base, DiskFormat.RAW, 2 << 30)
    assert overlay_size(overlay) == 2 << 30
    changes = ("discard -q 0 4M", "write -q -P 99 500M 1M", "write -q -P 100 1500M 1M")
    words = [word for each in changes for word in ("-c", each)]
    subprocess.run(["qemu-img", "rebase", "-u", "-F", "raw", "-b", base, overlay], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-d", "unmap", *words, overlay], check=True)
    parts: list[float] = []
    for _ in range(2):
        # The second time, as after a kill, changes nothing.
        commit_overlay(overlay, base, DiskFormat.RAW, parts.append)
        assert base.stat().st_size == 2 << 30
        assert base.stat().st_blocks * 512 == 6 << 20
        with base.open("rb") as file:
            for at, byte in ((0, 0), (100 << 20, 98), (500 << 20, 99), (1500 << 20, 100)):
                file.seek(at)
                assert file.read(1 << 20) == bytes([byte]) * (1 << 20)
    assert parts[-1] == 1.0


def test_what_is_no_overlay_has_no_size(tmp_path):
    (tmp_path / "x").write_bytes(bytes(512))
    with pytest.raises(StorageError, match="is no qcow2 file"):
        overlay_size(tmp_path / "x")
