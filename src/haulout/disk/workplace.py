"""A private folder for what other programs write by name, and the end of those that killed processes left.

A folder is locked (``flock``) for as long as it is used. The lock dies with its process, however that dies, so one that
nobody holds is abandoned: the next to make a folder beside it removes it, with all it holds.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BESIDE: Final = ".haulout-"
"""Prefix of folders beside a target."""
APART: Final = "haulout-made-"
"""Prefix of folders in a temporary directory."""


@contextmanager
def workplace(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a fresh folder in ``parent`` that no other user may enter; it is removed at the end.

    Raises:
        OSError: it cannot be made.
    """
    sweep(parent, prefix)
    place, fd = _locked(parent, prefix)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(fd)


def sweep(parent: Path, prefix: str) -> None:
    """Remove the folders with this prefix that killed processes of this user left in ``parent``; never fails."""
    ours = re.compile(re.escape(prefix) + "[a-z0-9_]{8}")
    with suppress(OSError):
        for path in parent.iterdir():
            if ours.fullmatch(path.name):
                with suppress(OSError):
                    _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)


def _locked(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        place = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).absolute()
        # Between its making and its lock another process may have taken it for abandoned: then make another.
        with suppress(FileNotFoundError):
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if _is_held(fd) and place.exists():
                return place, fd
            os.close(fd)


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # NFS locks no folders: nobody sweeps there either.
        return True
    return True
