"""The newest tools of our peers, from Debian sid, run here without installing them, and Ironic from PyPI.

Packages come from the mirror that this machine's apt is configured with, into a cache beside the user's other caches. They are
unpacked, and run through sid's own loader, since this machine's C library may be older than theirs. As a program, fetch
them anew and print their versions::

    python -m tests.support.peers
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = ("podman", "buildah", "skopeo", "oras", "crane", "umoci", "cosign")
HELPERS = ("conmon", "gvproxy", "netavark")
"""What the tools look for when they start; not tested by themselves."""
QEMU = (
    "qemu-system-x86",
    "qemu-system-arm",
    "qemu-system-data",
    "seabios",
    "ipxe-qemu",
    "virtiofsd",
    "ignition",
    "qemu-guest-agent",
)
"""What machines need, as a set of its own: it is large."""
# At import: tests set another XDG_CACHE_HOME.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "haulout-peers"
SECONDS = 60.0
DOWNLOAD_SECONDS = 120.0
PIP_SECONDS = 500.0
RETRY_SECONDS = 3600.0
"""How long a mirror that failed is left alone."""


class UnavailableError(Exception):
    """The tools cannot be had here; the message says why."""


@dataclass(frozen=True)
class Ended:
    """A program that ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Peers:
    """An unpacked set of tools."""

    root: Path

    @property
    def versions(self) -> dict[str, str]:
        """Debian's version of each tool that is there."""
        lines = (self.root / "versions").read_text().splitlines()
        return {name: version for name, _, version in (line.partition(" ") for line in lines)}

    def argv(self, tool: str) -> list[str]:
        """The command that runs ``tool``; skips the test where sid has none."""
        if tool not in self.versions:
            pytest.skip(f"Debian sid has no {tool}")
        return self.program(f"usr/bin/{tool}")

    def program(self, path: str) -> list[str]:
        """The command that runs the program at a path; skips the test where sid has none."""
        program = self.root / path
        if not program.exists():
            pytest.skip(f"Debian sid has no {path}")
        (loader,) = self.root.glob("usr/lib/*/ld-linux-*.so.*")
        return [str(loader), "--library-path", str(loader.parent), "--argv0", program.name, str(program)]

    def attempt(self, tool: str, *arguments: object, cwd: Path | None = None, **environment: str) -> Ended:
        """Run a tool to its end, however it ends."""
        done = subprocess.run(
            [*self.argv(tool), *map(str, arguments)],
            cwd=cwd,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout.strip(), done.stderr.strip())

    def run(self, tool: str, *arguments: object, cwd: Path | None = None, **environment: str) -> str:
        """Run a tool that must succeed; returns its standard output."""
        done = self.attempt(tool, *arguments, cwd=cwd, **environment)
        assert done.code == 0, f"{tool} {' '.join(map(str, arguments))}: {done.err}"
        return done.out


def peers(packages: tuple[str, ...] = TOOLS + HELPERS) -> Peers:
    """The tools, fetched if they are not here yet; skips the test where they cannot be had."""
    try:
        return fetch(packages)
    except UnavailableError as error:
        pytest.skip(f"the tools of Debian sid cannot be had here: {error}")


@cache
def fetch(packages: tuple[str, ...] = TOOLS + HELPERS, *, anew: bool = False) -> Peers:
    """Download and unpack the tools, unless the cache has them.

    Raises:
        UnavailableError: there is no apt, no mirror, or nothing came from it in time.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    failed = CACHE / "failed"
    with _only_one():
        root = CACHE / ("machines" if packages == QEMU else "root")
        if (root / "versions").exists() and not anew:
            return Peers(root)
        if failed.exists() and not anew and time.time() - failed.stat().st_mtime < RETRY_SECONDS:
            raise UnavailableError(failed.read_text())
        try:
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                made = _unpacked(Path(scratch), packages)
                shutil.rmtree(root, ignore_errors=True)
                made.rename(root)
        except (UnavailableError, OSError, subprocess.SubprocessError) as error:
            failed.write_text(str(error))
            raise UnavailableError(str(error)) from error
        failed.unlink(missing_ok=True)
        return Peers(root)


@cache
def ironic(*, install: bool = False) -> str:
    """The Python of an environment with Ironic; skips the test where it is not here and is not to be installed (320 MB)."""
    CACHE.mkdir(parents=True, exist_ok=True)
    home, failed = CACHE / "ironic", CACHE / "ironic-failed"
    with _only_one():
        if not (home / "bin/python").exists():
            if not install:
                pytest.skip("Ironic is not here: make peers installs it")
            if failed.exists() and time.time() - failed.stat().st_mtime < RETRY_SECONDS:
                pytest.skip(failed.read_text())
            try:
                with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                    made = Path(scratch) / "ironic"
                    venv.create(made, with_pip=True)
                    argv = [str(made / "bin/python"), "-m", "pip", "install", "--quiet", "ironic"]
                    subprocess.run(argv, check=True, capture_output=True, timeout=PIP_SECONDS)
                    shutil.rmtree(home, ignore_errors=True)
                    made.rename(home)
            except (OSError, subprocess.SubprocessError) as error:
                failed.write_text(f"Ironic cannot be had from PyPI here: {error}")
                pytest.skip(failed.read_text())
    return str(home / "bin/python")


def ironic_version() -> str:
    """The version of Ironic that :func:`ironic` has."""
    ask = "from importlib.metadata import version; print(version('ironic'))"
    return subprocess.run([ironic(), "-c", ask], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def _only_one() -> Iterator[None]:
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpacked(scratch: Path, wanted: tuple[str, ...]) -> Path:
    apt = _Apt(scratch)
    apt.run("apt-get", "update")
    versions = {name: version for name in wanted if (version := apt.version(name))}
    if not versions:
        raise UnavailableError("the mirror's sid has none of them")
    packages = sorted({*versions, *apt.libraries(*versions)})
    apt.run("apt-get", "download", *packages)
    root = scratch / "root"
    for package in sorted(scratch.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True, capture_output=True, timeout=SECONDS)
    for folder in (root / "usr/share").iterdir():
        if folder.name not in {"qemu", "seabios"}:
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    (root / "versions").write_text("".join(f"{name} {version}\n" for name, version in versions.items()))
    return root


@dataclass(frozen=True)
class _Apt:
    """apt with a state of its own, which knows sid and nothing else."""

    scratch: Path

    def run(self, program: str, *arguments: str) -> str:
        scratch = self.scratch
        sources = scratch / "sid.list"
        if not sources.exists():
            keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
            signed = f"[signed-by={keyring}] " if keyring.exists() else ""
            sources.write_text(f"deb {signed}{_mirror()} sid main\n")
            (scratch / "lists/partial").mkdir(parents=True)
            (scratch / "archives/partial").mkdir(parents=True)
            (scratch / "status").touch()
        settings = {
            "Dir::State": scratch,
            "Dir::State::lists": scratch / "lists",
            "Dir::State::status": scratch / "status",
            "Dir::Cache": scratch,
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": scratch / "none",
            "Acquire::Languages": "none",
            "Acquire::Retries": 0,
            "Acquire::http::Timeout": 10,
            "Acquire::https::Timeout": 10,
            "APT::Sandbox::User": "root",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        argv = [program, "-q", *options, *arguments]
        done = subprocess.run(
            argv, cwd=scratch, check=False, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, env=_ENGLISH
        )
        # apt-get update ends well where it found nothing.
        if done.returncode or "Failed to fetch" in done.stderr:
            raise UnavailableError(done.stderr.strip().splitlines()[0] if done.stderr.strip() else f"{program} failed")
        return done.stdout

    def version(self, name: str) -> str | None:
        found = re.search(r"Candidate: (\S+)", self.run("apt-cache", "policy", name))
        return found[1] if found and found[1] != "(none)" else None

    def libraries(self, *names: str) -> set[str]:
        """The libraries that these need, and those that libraries need; no programs and services behind them."""
        needs: dict[str, list[str]] = defaultdict(list)
        package = ""
        for line in self.run("apt-cache", "depends", "--recurse", "--important", *names).splitlines():
            if found := re.match(r"\s+\|?(?:Pre)?Depends: (lib\S+)$", line):
                needs[package].append(found[1])
            elif not line.startswith(" "):
                package = line.strip()
        found_: set[str] = set()
        left = list(names)
        while left:
            fresh = set(needs[left.pop()]) - found_
            found_ |= fresh
            left += fresh
        return found_


_ENGLISH = os.environ | {"LC_ALL": "C"}


def _mirror() -> str:
    """The address of the mirror that this machine has its own Debian from."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise UnavailableError("not a Debian machine")
    lines = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
        check=True, capture_output=True, text=True, timeout=SECONDS,
    ).stdout.splitlines()  # fmt: skip
    release = (
        dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
        .get("VERSION_CODENAME", "")
        .strip('"')
    )
    for line in lines:
        name, component, address = line.split()
        if (name, component) == (release, "main"):
            return address
    raise UnavailableError("apt knows no mirror")


if __name__ == "__main__":
    try:
        tools = fetch(anew=True)
    except UnavailableError as unavailable:
        sys.exit(f"the tools of Debian sid cannot be had here: {unavailable}")
    for name, version in tools.versions.items():
        sys.stdout.write(f"{name} {version}\n")
    try:
        ironic(install=True)
    except pytest.skip.Exception as unavailable:
        sys.exit(str(unavailable))
