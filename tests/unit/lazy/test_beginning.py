"""What is decided before any program opens a disk of which hardly anything is here."""

from __future__ import annotations

import subprocess

import pytest
from tests.support.lazy_disks import LazyDisk
from tests.support.servers import needs

from haulout.disk import DiskFormat, inspect_image, require_safe, start_of_disk
from haulout.errors import UnreachableError, UnsafeDiskError
from haulout.lazy.beginning import _Fetching


def qcow2(path, *options):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "64M"], check=True)
    return path


@needs("qemu-img", "qemu-io")
def test_inspection_fetches_what_it_reads_and_little_more(tmp_path):
    path = qcow2(tmp_path / "disk.qcow2")
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(range(256)) * 4096)
    for at in (0, 8, 40):
        subprocess.run(["qemu-io", "-c", f"write -q -s {noise} {at}M 1M", path], check=True, stdout=subprocess.DEVNULL)
    disk = LazyDisk(tmp_path, path)
    with disk.opened() as (image, fetcher):
        opened = _Fetching(image, fetcher, "disk", disk.said)
        info = require_safe(inspect_image(opened), DiskFormat.QCOW2)
        assert info.virtual_size == 64 << 20
        (offset, length), *_ = start_of_disk(opened, 512)
        assert opened.read(offset, length) == noise.read_bytes()[:length]


@needs("qemu-img")
def test_a_disk_that_names_another_file_is_refused(tmp_path):
    disk = LazyDisk(tmp_path, qcow2(tmp_path / "evil.qcow2", "-b", "/etc/passwd", "-F", "raw"))
    with disk.opened() as (image, fetcher), pytest.raises(UnsafeDiskError, match="overlay of another file"):
        require_safe(inspect_image(_Fetching(image, fetcher, "disk", disk.said)), DiskFormat.QCOW2)


def test_a_registry_that_is_away_is_named(tmp_path):
    disk = LazyDisk(tmp_path, patience=0.3)
    disk.source.away.set()
    with disk.opened() as (image, fetcher), pytest.raises(UnreachableError, match="is away"):
        _Fetching(image, fetcher, "disk", disk.said).read(0, 512)
