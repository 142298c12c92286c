"""The place a benchmark of updates works in: a registry, a folder, and haulout with caches of its own."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer import HAULOUT, sh

if TYPE_CHECKING:
    from pathlib import Path

LEVEL = 6
QUIET = ("--json", "--progress", "none")
KIND = ("--arch", "x86_64", "--type", "raw")


@dataclass
class Update:
    """One way of moving from OLD to NEW."""

    name: str
    megabytes: float
    requests: int | None = None
    seconds: float | None = None
    ours: bool = False
    remark: str = ""

    def __str__(self) -> str:
        requests = "" if self.requests is None else f"{self.requests:5} requests"
        seconds = "" if self.seconds is None else f"{self.seconds:7.2f} s"
        return f"  {self.name:38} {self.megabytes:8.2f} MB {requests:15} {seconds:10} {self.remark}"


class Lab:
    """A registry, a folder, and haulout with a cache of its own."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.host = host
        self.caches = 0
        self.fresh()

    def fresh(self) -> None:
        """Forget all earlier pulls."""
        self.caches += 1
        os.environ["XDG_CACHE_HOME"] = str(self.folder / f"cache{self.caches}")

    def ref(self, name: str, tag: str, host: str | None = None) -> str:
        return f"{host or self.host}/bench/{name}:{tag}"

    def push(self, name: str, tag: str, disk: Path, *more: str) -> dict:
        return json.loads(sh(HAULOUT, "push", self.ref(name, tag), disk, "--level", LEVEL, *KIND, *more, *QUIET))

    def pull(self, name: str, tag: str, *more: object, host: str | None = None, out: Path | None = None) -> dict:
        out = out or self.folder / "out.raw"
        out.unlink(missing_ok=True)
        begun = time.monotonic()
        report = json.loads(sh(HAULOUT, "pull", self.ref(name, tag, host), "-o", out, *KIND, *more, *QUIET))
        report["wall"] = time.monotonic() - begun
        if "--dry-run" not in more and report["disk"]["digest"] != "sha256:" + hashed(out):
            raise SystemExit(f"WRONG RESULT: {name}:{tag} {more}")
        return report


def hashed(disk: Path) -> str:
    with disk.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own(name: str, report: dict) -> Update:
    how = f"{report['ranges']} ranges" + (", 1 delta" if report["delta"] else "")
    return Update(name, report["fetched"] / 1e6, report["requests"], report["seconds"], ours=True, remark=how)
