"""Our server of disks, and the clients of others: QEMU's and libnbd's."""

from __future__ import annotations

import socket
import struct
import subprocess

import pytest
from tests.support.lazy_disks import LazyDisk, Served, serving
from tests.support.machines import short_folder
from tests.support.servers import needs

pytestmark = [pytest.mark.tools, needs("qemu-io", "nbdinfo")]


def run(*argv, code=0):
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def served(tmp_path):
    disk = LazyDisk(tmp_path, patience=5.0)
    with disk.opened() as parts, short_folder() as folder, serving(folder / "s", Served(*parts)) as uri:
        yield disk, uri, folder / "s"


def test_libnbd_and_qemu_read_the_whole_disk(served, tmp_path):
    disk, uri, path = served
    assert "protocol: newstyle-fixed without TLS" in run("nbdinfo", uri)
    assert run("nbdinfo", "--list", uri)
    assert run("nbdinfo", "--is", "read-only", uri) == ""
    assert run("nbdinfo", "--can", "multi-conn", uri) == ""
    run("nbdcopy", "--connections=4", uri, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == disk.plain
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, tmp_path / "disk.raw")
    where = f"driver=nbd,server.type=unix,server.path={path}"
    done = run("qemu-img", "bench", "-c", 200, "-d", 16, "-s", 4096, "-S", 65536, "--image-opts", where)
    assert "completed" in done


def test_writes_and_reads_outside_are_refused(served):
    disk, uri, _ = served
    failed = run("qemu-io", "-f", "raw", "-c", "write 0 4k", uri, code=1)
    assert "Permission denied" in failed
    frame = disk.toc.data_frames[-1]
    disk.source.flipped.add(disk.toc.blob_offsets[frame] + 30)
    at = disk.toc.disk_offsets[frame]
    assert "Input/output error" in run("qemu-io", "-r", "-f", "raw", "-c", f"read {at} 4k", uri, code=1)


def test_what_is_here_is_served_while_something_else_is_waited_for(served):
    disk, _, path = served
    first, last = disk.toc.data_frames[0], disk.toc.data_frames[-1]
    here, absent = disk.toc.disk_offsets[first], disk.toc.disk_offsets[last]
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        link.settimeout(60)
        reader = link.makefile("rb")
        reader.read(18)
        link.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
        assert struct.unpack(">QH", reader.read(10))[0] == len(disk.plain)

        def ask(cookie: int, kind: int, offset: int, length: int, data: bytes = b"") -> None:
            link.sendall(struct.pack(">IHHQQI", 0x25609513, 0, kind, cookie, offset, length) + data)

        def answer(length: int) -> tuple[int, int, bytes]:
            _, fault, cookie = struct.unpack(">IIQ", reader.read(16))
            return cookie, fault, reader.read(0 if fault else length)

        ask(1, 0, here, 4096)
        assert answer(4096) == (1, 0, disk.plain[here : here + 4096])
        disk.source.away.set()
        ask(2, 0, absent, 4096)
        ask(3, 1, 0, 5, b"write")
        ask(4, 0, here, 512)
        assert answer(0) == (3, 1, b""), "a write is refused, and read over"
        assert answer(512) == (4, 0, disk.plain[here : here + 512])
        disk.source.away.clear()
        assert answer(4096) == (2, 0, disk.plain[absent : absent + 4096])
        ask(5, 0, len(disk.plain) - 1, 2)
        assert answer(0) == (5, 22, b"")
        ask(6, 2, 0, 0)
        assert reader.read() == b""
