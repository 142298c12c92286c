"""Small files of the cache: in place whole or not at all, and nothing left behind by whoever is killed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from platformdirs import user_cache_path


def folder(name: str) -> Path:
    """Return a folder of the user's cache; for a user without a home, a place where nothing can be kept."""
    try:
        return user_cache_path("haulout") / name
    except RuntimeError:
        return Path(os.devnull) / name


def put(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step.

    The file under way has one name for all writers, so that the next one goes on with what a killed one left; a lock
    keeps two of them apart, and the later gives up: a cache is no place to wait.

    Raises:
        OSError: it cannot be written, or another process writes it at this moment.
    """
    fresh = path.with_name(f".{path.name}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held the lock before may have put the file in place meanwhile: what is open is that one then.
        if not os.path.samestat(fresh.lstat(), os.fstat(fd)):
            raise BlockingIOError(f"{fresh} was just put in place")
        file.truncate(0)
        file.write(data)
        file.flush()
        fresh.replace(path)
