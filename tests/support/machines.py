"""The tiny machine image, built once and kept in the tree's ``.cache``, and a short place for sockets."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from images import tiny
from tests.support.sandbox import ROOT
from tests.support.servers import find

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = (
    *("qemu-system-x86_64", "qemu-img", "ssh", "scp", "busybox", "cpio", "apt-get", "dpkg-deb", "mke2fs"),
    *("mformat", "syslinux"),
)


def tiny_image() -> Path:
    """Return the image; skip, saying why, where it cannot be built."""
    missing = [program for program in PROGRAMS if find(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    try:
        return tiny.cached(ROOT / ".cache")
    except SystemExit as exc:
        pytest.skip(f"Debian's packages cannot be had here: {str(exc)[:300]}")


@contextmanager
def short_folder() -> Iterator[Path]:
    """Yield a folder whose name leaves room for those of sockets."""
    folder = Path(tempfile.mkdtemp(prefix="hm-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
