"""Loop devices for tests, where the machine lets us make them; skipped with the reason where it does not."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def loop_device(backing: Path) -> Iterator[Path]:
    """Attach a file as a block device for as long as the block lasts."""
    losetup = shutil.which("losetup", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if losetup is None:
        pytest.skip("losetup is not installed")
    done = subprocess.run([losetup, "--show", "-f", backing], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device can be made here: {done.stderr.strip()}")
    device = Path(done.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run([losetup, "-d", device], check=True)
