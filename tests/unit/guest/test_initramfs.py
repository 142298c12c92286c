import io
import lzma
import stat
import subprocess
from pathlib import Path

import pytest
from tests.support.servers import needs

from haulout.guest.initramfs import cpio, modules


def packed(*entries):
    return b"".join(cpio.pack(entries))


ENTRIES = (
    cpio.file("init", b"#!/bin/sh\n", executable=True),
    cpio.file("etc/deep/file", b"content"),
    cpio.Entry("proc", stat.S_IFDIR | 0o755),
    cpio.Entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
)


@pytest.mark.tools
@needs("cpio")
def test_cpio_reads_it(tmp_path):
    archive = packed(*ENTRIES)
    listed = subprocess.run(["cpio", "-tv", "--quiet"], input=archive, capture_output=True, check=True).stdout.decode()
    lines = [line.split() for line in listed.splitlines()]
    assert [(line[0], line[-1]) for line in lines] == [
        ("drwxr-xr-x", "bin"),
        ("lrwxrwxrwx", "busybox"),
        ("drwxr-xr-x", "etc"),
        ("drwxr-xr-x", "etc/deep"),
        ("-rw-r--r--", "etc/deep/file"),
        ("-rwxr-xr-x", "init"),
        ("drwxr-xr-x", "proc"),
    ]
    subprocess.run(["cpio", "-i", "--quiet"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "etc/deep/file").read_bytes() == b"content"
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755


def test_the_order_of_entries_does_not_matter():
    assert packed(*ENTRIES) == packed(*reversed(ENTRIES))


def module(folder: Path, name: str, depends: str, *, xz: bool = False) -> None:
    data = b"ELF\0name=" + name.encode() + b"\0depends=" + depends.encode() + b"\0vermagic=1\0"
    path = folder / "lib/modules/1/kernel" / (f"{name}.ko.xz" if xz else f"{name}.ko")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(data) if xz else data)


def test_modules_come_after_those_they_need(tmp_path):
    module(tmp_path, "virtio_blk", "virtio-ring,virtio")
    module(tmp_path, "virtio-ring", "virtio", xz=True)
    module(tmp_path, "virtio", "")
    module(tmp_path, "unused", "")
    found = modules.in_order(tmp_path)
    names = list(found)
    assert set(names) == {"virtio.ko", "virtio_ring.ko", "virtio_blk.ko"}
    assert names.index("virtio.ko") < names.index("virtio_ring.ko") < names.index("virtio_blk.ko")
    # The kernel is given none that is compressed.
    assert all(io.BytesIO(data).read(3) == b"ELF" for data in found.values())
