"""A file system that shares blocks between files, mounted for a benchmark from a file of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def xfs(folder: Path, gigabytes: int = 8) -> Iterator[Path | None]:
    """Yield the root of a fresh XFS; None, saying why, where none can be made."""
    if os.geteuid() or shutil.which("mkfs.xfs") is None:
        print("  XFS: left out; it needs root and xfsprogs")
        yield None
        return
    image, place = folder / "xfs.img", folder / "xfs"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(gigabytes << 30)
    subprocess.run(["mkfs.xfs", "-q", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    try:
        if mounted.returncode:
            print(f"  XFS: left out; {mounted.stderr.strip()}")
        yield None if mounted.returncode else place
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", place], check=True)
        image.unlink()
        place.rmdir()
