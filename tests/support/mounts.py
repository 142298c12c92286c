"""Small file systems of several kinds, mounted for a test; skipped where this cannot be done."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAKE = {"btrfs": ["mkfs.btrfs", "-q"], "xfs": ["mkfs.xfs", "-q"], "vfat": ["mkfs.vfat"]}


@contextmanager
def mounted(folder: Path, kind: str, options: str = "defaults", megabytes: int = 512) -> Iterator[Path]:
    """Yield the root of a file system of some kind, in memory (tmpfs) or in a file in ``folder``; or skip."""
    place = folder / kind
    place.mkdir(parents=True)
    source = "none"
    if kind != "tmpfs":
        image = folder / f"{kind}.img"
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run([*_MAKE[kind], image], check=True, stdout=subprocess.DEVNULL)
        source, options = str(image), f"loop,{options}"
    done = subprocess.run(["mount", "-t", kind, "-o", options, source, place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no {kind} can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
