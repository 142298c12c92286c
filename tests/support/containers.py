"""podman and buildah for tests: the real programs, with a storage of their own below a test's folder."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 120.0
_FORBIDDEN = ("not permitted", "user namespace", "newuidmap", "Permission denied", "/dev/fuse")
"""What these programs say where they may not work at all: in a container without privileges, say."""


@dataclass(frozen=True)
class Ended:
    """A program that ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Containers:
    """Runs ``podman`` and ``buildah`` on one storage; images of either are seen by both."""

    folder: Path
    registries: Path
    running: str
    """A short path: podman refuses more than 50 characters."""

    def attempt(self, tool: str, *arguments: object) -> Ended:
        """Run a command to its end, however it ends."""
        storage = ("--root", f"{self.folder}/graph", "--runroot", self.running, "--storage-driver", "vfs")
        argv = [tool, *storage, *(["--registries-conf", str(self.registries)] if tool == "buildah" else [])]
        done = subprocess.run(
            [*argv, *map(str, arguments)], check=False, capture_output=True, text=True, timeout=SECONDS
        )
        return Ended(done.returncode, done.stdout.strip(), done.stderr.strip())

    def run(self, tool: str, *arguments: object) -> str:
        """Run a command that must succeed; returns its standard output."""
        done = self.attempt(tool, *arguments)
        if done.code and any(word in done.err for word in _FORBIDDEN):
            pytest.skip(f"{tool} may not work here: {done.err.splitlines()[-1]}")
        assert done.code == 0, f"{tool} {arguments}: {done.err}"
        return done.out

    def json(self, tool: str, *arguments: object) -> Any:
        """Run a command that prints JSON."""
        return json.loads(self.run(tool, *arguments))

    def image(self, name: str, label: str) -> None:
        """Make a tiny image of one file, for this machine's processor, as ``localhost/NAME``."""
        (self.folder / "hello").write_text("hello\n")
        working = self.run("buildah", "from", "scratch")
        self.run("buildah", "copy", working, self.folder / "hello", "/hello")
        self.run("buildah", "config", "--label", f"made-as={label}", working)
        self.run("buildah", "commit", "--quiet", "--format", "oci", working, name)


@contextmanager
def containers(folder: Path, monkeypatch: pytest.MonkeyPatch, host: str = "registry.invalid") -> Iterator[Containers]:
    """Set the programs up for as long as the block lasts; ``host`` may be spoken to without TLS."""
    registries = folder / "registries.conf"
    registries.write_text(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
    # podman has no flag for it, and some commands of it none for TLS either.
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with tempfile.TemporaryDirectory(prefix="pod-") as running:
        yield Containers(folder, registries, running)
