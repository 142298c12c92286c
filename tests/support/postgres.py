"""A PostgreSQL server of a test's own, on a UNIX socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_USER = "postgres"
"""Who runs the server where the tests run as root, which it refuses."""


def programs() -> Path | None:
    """Find the folder of PostgreSQL's programs: Debian has them out of the way."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    return found[-1].parent if found else None


needs_postgres = pytest.mark.skipif(programs() is None, reason="not installed: postgresql")


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    folder: Path

    def database(self, name: str) -> str:
        """Make a database; return its URL."""
        subprocess.run(self._command("createdb", name), check=True, timeout=240, **_as_user())
        return f"postgresql://{_owner()}@/{name}?host={quote(str(self.folder))}"

    def _command(self, program: str, *words: str) -> list[str]:
        folder = programs()
        assert folder is not None
        return [str(folder / program), "-h", str(self.folder), *words]


def _owner() -> str:
    return _USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _as_user() -> dict[str, Any]:
    return {"user": _USER, "cwd": "/"} if os.geteuid() == 0 else {}


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server with an empty cluster."""
    found = programs()
    assert found is not None
    # A path of a socket has at most 107 characters, which pytest's own folders leave no room for.
    folder = Path(tempfile.mkdtemp(prefix="haulout-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(_USER).pw_uid, -1)
        cluster = folder / "cluster"
        words = ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", f"--username={_owner()}"]
        subprocess.run(
            [found / "initdb", "-D", cluster, *words], check=True, capture_output=True, timeout=240, **_as_user()
        )
        settings = f"-k {folder} -c listen_addresses= -c max_connections=200"
        control: list[Any] = [found / "pg_ctl", "-D", cluster, "-w", "-t", "240"]
        start = [*control, "-l", folder / "log", "-o", settings, "start"]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, timeout=300, **_as_user())
        try:
            yield Postgres(folder)
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, timeout=300, **_as_user()
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
