"""A directory in which documented commands are run as a person would: disks to publish, a registry, a home of its own."""

from __future__ import annotations

import atexit
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.libraries import CVE, Lab, vendoring
from tests.support.servers import docker_registry, find

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE_HOSTS = ("registry.example.com", "localhost:5000", "127.0.0.1:5000")
"""Hosts that documents name; commands meet the sandbox's registry in their place."""
CREDENTIALS = ("builder", "the tests' password")
SECONDS = 240.0
"""Far more than anything takes: a host that is busy with other tests is slow."""


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class Sandbox:
    """Where commands run."""

    path: Path
    host: str | None
    """The loopback registry; None where there is none."""
    environment: dict[str, str] = field(default_factory=dict)

    def shell(self, command: str, **environment: str) -> Done:
        """Run a shell command line of a document."""
        for host in EXAMPLE_HOSTS:
            command = command.replace(host, self.host or host)
        return self._run(["bash", "-c", command], more=environment)

    def haulout(self, *arguments: str, stdin: str | None = None, **environment: str) -> Done:
        """Run haulout."""
        return self._run(["haulout", *arguments], stdin, environment)

    def _run(self, argv: list[str], stdin: str | None = None, more: dict[str, str] | None = None) -> Done:
        done = subprocess.run(
            argv,
            cwd=self.path,
            env=self.environment | (more or {}),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


BOOTED = b"booted by the tests"
_BOOT_CODE = bytes.fromhex(
    "31c0 8ed8 fc"  # ds = 0, forwards
    "be 1d7c ba f803"  # si = the text behind this code, dx = the first serial port
    "ac 84c0 7403 ee ebf8"  # each byte but the last zero goes there
    "ba 0406 b8 0020 ef"  # ACPI: off
    "f4 ebfd"  # until then, wait
)


def raw_disk(path: Path, seed: int, size: int = 4 << 20) -> Path:
    """Write a sparse disk: an MBR with one Linux partition that greets on the serial port, and a little data."""
    rng = random.Random(seed)
    table = bytearray(512)
    greeting = _BOOT_CODE + b"\r\n" + BOOTED + b"\r\n\0"
    table[: len(greeting)] = greeting
    # One bootable partition of type 0x83 from sector 2048 to the end.
    table[446:462] = b"\x80\0\0\0\x83\0\0\0" + (2048).to_bytes(4, "little") + (size // 512 - 2048).to_bytes(4, "little")
    table[510:] = b"\x55\xaa"
    with path.open("wb") as disk:
        disk.truncate(size)
        disk.write(table)
        for offset in (1 << 20, 3 << 20):
            disk.seek(offset)
            disk.write(rng.randbytes(100_000))
    return path


@contextmanager
def sandbox(tmp_path: Path, *, registry: bool = True, libraries: bool = False) -> Iterator[Sandbox]:
    """Make a sandbox with disks and ``token`` in it, logged in to its registry.

    ``root`` is a folder with a root file system. The disks are ``disk.raw``, ``disk.qcow2``, ``arm.qcow2``, and the next versions ``next.raw`` and ``next.qcow2``.
    With ``libraries`` there are the clones ``common`` and ``cri-o`` too, a ledger and a fix record.
    """
    home, work, programs = tmp_path / "home", tmp_path / "work", tmp_path / "bin"
    for folder in (home, work, programs):
        folder.mkdir()
    _program(programs / "haulout", sys.executable, "-m", "haulout")
    raw = raw_disk(work / "disk.raw", 1)
    following = bytearray(raw.read_bytes())
    following[(1 << 20) + 50_000 : (1 << 20) + 50_100] = bytes(100)
    (work / "next.raw").write_bytes(following)
    if find("qemu-img"):
        _qcow2(raw, work / "disk.qcow2")
        _qcow2(work / "next.raw", work / "next.qcow2")
        _qcow2(raw_disk(home / "arm.raw", 2), work / "arm.qcow2")
    (work / "root/etc").mkdir(parents=True)
    (work / "root/etc/motd").write_text("hello from inside\n")
    (work / "sbom.json").write_text('{"spdxVersion": "SPDX-2.3"}\n')
    (work / "notes.md").write_text("# 5.0\n")
    (work / "token").write_text(f"{CREDENTIALS[1]}\n")
    if libraries:
        _libraries(work)
    environment = {
        # So that ids of commits are the same in every run.
        "GIT_COMMITTER_DATE": "1700300000 +0000",
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONWARNINGS": "error",
        "REGISTRY_AUTH_FILE": str(home / "auth.json"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "TERM": "dumb",
        "COLUMNS": "100",
        # So that commands, and the supervisors that they leave, are measured where the tests are.
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
    }
    if registry and find("docker-registry"):
        with docker_registry(tmp_path, auth=CREDENTIALS) as server:
            made = Sandbox(work, server.host, environment)
            logged_in = made.haulout(
                "login", server.host, "-u", CREDENTIALS[0], "--password-stdin", stdin=CREDENTIALS[1]
            )
            assert logged_in.code == 0, logged_in.err
            if buildah := find("buildah"):
                _buildah(programs, buildah, home, server.host)
            yield made
    else:
        yield Sandbox(work, None, environment)


def _program(path: Path, *argv: str) -> None:
    """A program that begins a command line, and hands on its arguments."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
    path.chmod(0o755)


def _buildah(programs: Path, buildah: str, home: Path, host: str) -> None:
    """buildah with a storage of its own, which may speak to the sandbox's registry without TLS."""
    registries = home / "registries.conf"
    registries.write_text(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
    storage = ("--root", f"{home}/graph", "--runroot", f"{home}/run", "--storage-driver", "vfs")
    _program(programs / "buildah", buildah, *storage, "--registries-conf", str(registries))


def _libraries(work: Path) -> None:
    for name in ("common", "cri-o"):
        shutil.copytree(_built_libraries() / name, work / name, symlinks=True)
    lab = Lab(work / "common")
    fix = lab.git("rev-parse", "main~1")
    entry = (
        '[[branch]]\nlibrary = "library/common"\nname = "crio-1.{0}"\nbase = "{1}"\nconsumer = "crio"\n'
        'consumer-version = "1.{0}"\nconsumer-branch = "release-1.{0}"\n'
    )
    bases = {24: "v0.52.0", 25: "v0.52.0", 26: "v0.52.0", 27: "v0.53.0", 28: "v0.55.0", 29: "v0.57.0", 30: "v0.58.0"}
    entries = [entry.format(number, base) for number, base in bases.items()]
    (work / "backports.toml").write_text("\n".join(['supported = ["main", "v0.5[7-9]", "v0.6*"]\n', *entries]))
    (work / "fixes").mkdir()
    (work / f"fixes/{CVE}.toml").write_text(
        f'id = "{CVE}"\naliases = ["GHSA-mc76-5925-c5p6"]\nsummary = "Links could lead out of a container"\n'
        f'library = "library/common"\ncommits = ["{fix}"]\n'
    )


@cache
def _built_libraries() -> Path:
    """Build the clones once a process; removed when it ends."""
    folder = tempfile.TemporaryDirectory(prefix="haulout-tests-")
    atexit.register(folder.cleanup)
    vendoring(Path(folder.name))
    return Path(folder.name)


def _qcow2(raw: Path, path: Path) -> None:
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)],
        check=True,
        capture_output=True,
        timeout=SECONDS,
    )
