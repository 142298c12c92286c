"""docker's command line from Debian's package, unpacked and not installed: the package would start a daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.sandbox import ROOT
from tests.support.servers import find


def docker_cli() -> Path:
    """Return the program; skip, saying why, where it cannot be had."""
    if installed := find("docker"):
        return Path(installed)
    program = ROOT / ".cache/docker"
    if not program.exists():
        work = ROOT / f".cache/docker-{os.getpid()}"
        work.mkdir(parents=True, exist_ok=True)
        try:
            for argv in (["apt-get", "download", "-q", "docker.io"], ["sh", "-c", "dpkg-deb -x docker.io*.deb ."]):
                done = subprocess.run(argv, cwd=work, capture_output=True, text=True, check=False)
                if done.returncode:
                    pytest.skip(f"Debian's docker cannot be had here: {done.stderr[-200:]}")
            (work / "usr/bin/docker").rename(program)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return program
