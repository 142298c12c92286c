"""Machines from the tiny image, which is built once and kept in the tree's ``.cache``, and what they run as."""

from __future__ import annotations

import json
import re
import shutil
import socket
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from images import tiny
from tests.support.sandbox import ROOT, sandbox
from tests.support.servers import find

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = (
    *("qemu-system-x86_64", "qemu-img", "ssh", "scp", "busybox", "cpio", "apt-get", "dpkg-deb", "mke2fs"),
    *("mformat", "syslinux"),
)


def tiny_image() -> Path:
    """Return the image; skip, saying why, where it cannot be built."""
    missing = [program for program in PROGRAMS if find(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    try:
        return tiny.cached(ROOT / ".cache")
    except SystemExit as exc:
        pytest.skip(f"Debian's packages cannot be had here: {str(exc)[:300]}")


@contextmanager
def short_folder() -> Iterator[Path]:
    """Yield a folder whose name leaves room for those of sockets."""
    folder = Path(tempfile.mkdtemp(prefix="hm-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def machines(tmp_path, *, registry=False):
    """Yield a sandbox in which machines can be made from the tiny image; all that run are ended afterwards."""
    image = tiny_image()
    with short_folder() as runtime, sandbox(tmp_path, registry=registry) as place:
        place.environment.update(
            XDG_RUNTIME_DIR=str(runtime), XDG_DATA_HOME=str(tmp_path / "data"), DOCKER_CONFIG=str(tmp_path / "docker")
        )
        pushed = place.haulout("push", "oci:machines:5.0", str(image), "--arch", "x86_64", "--type", "qemu")
        assert pushed.code == 0, pushed.err
        try:
            yield place
        finally:
            for one in place.haulout("machine", "list", "--json").json["machines"]:
                place.haulout("machine", "stop", one["name"], "--wait", "0")


def listed(place):
    return {one["name"]: one for one in place.haulout("machine", "list", "--json").json["machines"]}


def ask(place, socket_name, path, name="web"):
    """Ask as podman's clients do, over a socket of the host; return the body."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(60)
        link.connect(f"{place.environment['XDG_RUNTIME_DIR']}/haulout/{name}/{socket_name}.sock")
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        link.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: link.recv(1 << 16), b""))
    return answer.partition(b"\r\n\r\n")[2]


def rootless(place, name="web"):
    """What each socket's end in the guest says of itself."""
    return [
        json.loads(ask(place, each, "/libpod/info", name))["host"]["security"]["rootless"]
        for each in ("podman", "podman-root")
    ]


def processes(pattern):
    """Ids of the processes with a command line like this, which name the machine's own folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if re.search(pattern, line):
            found.append(int(each.parent.name))
    return found


def vm(place, name):
    folder = re.escape(f"{place.environment['XDG_DATA_HOME']}/haulout/machines/{name}/")
    return processes(rf"^qemu-system-.* -name {name} .*{folder}")


def supervisor(place, name):
    runtime, found = f"XDG_RUNTIME_DIR={place.environment['XDG_RUNTIME_DIR']}\0".encode(), []
    for pid in processes(rf"haulout\.machine {name} $"):
        # It may end in between.
        with suppress(OSError):
            if runtime in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


def until(ready, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)
