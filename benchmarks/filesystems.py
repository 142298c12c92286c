"""File systems mounted for a benchmark from files of their own."""

from __future__ import annotations

import os
import random
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
    image = folder / "xfs.img"
    with image.open("wb") as file:
        file.truncate(gigabytes << 30)
    subprocess.run(["mkfs.xfs", "-q", image], check=True)
    try:
        with mounted(image, folder / "xfs") as place:
            yield place
    finally:
        image.unlink()


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path | None]:
    """Mount a disk without partitions; yield its root, or None, saying why, where that cannot be done."""
    place.mkdir()
    done = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            print(f"  left out: {done.stderr.strip()}")
        yield None if done.returncode else place
    finally:
        if not done.returncode:
            subprocess.run(["umount", place], check=True)
        place.rmdir()


def put_to_use(root: Path) -> None:
    """Do to a mounted system what a day of running does: programs are read, which notes their time; logs are written."""
    programs = [path for path in (root / "usr").rglob("*") if path.is_file() and not path.is_symlink()]
    for path in programs[::20]:
        path.read_bytes()
    for name, size in (("var/log/day.log", 4_000_000), ("var/lib/random-seed", 300_000)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(random.Random(name).randbytes(size))
    (root / "etc").mkdir(exist_ok=True)
    for number in range(30):
        (root / "etc" / f"setting-{number}").write_text(f"{number}\n")
