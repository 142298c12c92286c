"""Overlays, and what a disk boots by."""

from __future__ import annotations

import json
import struct
import subprocess

import pytest
from tests.support.servers import needs

from haulout.disk import DiskFormat, create_overlay, has_efi_partition

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
