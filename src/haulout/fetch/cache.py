"""Folders of the user's cache, of which any content costs at most its use.

Other programs, and other users where the folder is shared, may have put anything there: links that lead elsewhere,
pipes that never answer, files of any size. So a folder is opened without following links and must be this user's,
files are opened relative to it and must be this user's too, of our own names, regular and small; all else is not there.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from platformdirs import user_cache_path

from haulout.local import hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDERS: Final = ("seeds", "pulls", "partials")
MOST_NOTE: Final = 64 << 10
"""Bytes of a note: one holds two paths at most."""
_ABANDONED: Final = 3600.0
"""Seconds after which a file under way was left by a killed process, where the file system has no locks."""
_MOST_NAMES: Final = 4096
"""Names looked at in a folder; ours hold a few hundred."""
_OURS: Final = re.compile(r"[0-9a-f]{64}\.(?:json|toc)")
_UNDER_WAY: Final = re.compile(rf"\.{_OURS.pattern}\.[0-9a-f]{{8}}\.new")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class CacheFolder:
    """One folder. Reading finds nothing where it cannot be used; writing is an OSError there.

    Args:
        base: what it is in; opened as any folder is.
        names: from there, each opened without following links.
    """

    def __init__(self, base: Path, *names: str) -> None:
        self._base = base
        self._names = names

    @classmethod
    def at(cls, path: Path) -> CacheFolder:
        """Return the folder of a path."""
        return cls(path.parent, path.name)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._base.joinpath(*self._names)

    def files(self, suffix: str) -> list[str]:
        """Return the names of our own form that end in ``suffix``, of files of this user, the latest first."""
        found: list[tuple[float, str]] = []
        with suppress(OSError, ValueError), self._opened() as folder, os.scandir(folder) as entries:
            for entry, _ in zip(entries, range(_MOST_NAMES), strict=False):
                if entry.name.endswith(suffix) and _OURS.fullmatch(entry.name):
                    with suppress(OSError):
                        status = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                        if _is_ours(status):
                            found.append((status.st_mtime, entry.name))
        return [name for _, name in sorted(found, reverse=True)]

    def size(self, name: str) -> int:
        """Return the bytes that a file takes; 0 where it is not there."""
        with suppress(OSError, ValueError), self._opened() as folder:
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_blocks * 512
        return 0

    def read(self, name: str, most: int) -> bytes | None:
        """Return the content of a file of at most ``most`` bytes; None where there is none."""
        if _OURS.fullmatch(name) is None:
            return None
        with suppress(OSError, ValueError), self._opened() as folder:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                status = os.fstat(fd)
                if _is_ours(status) and status.st_size <= most:
                    with os.fdopen(os.dup(fd), "rb") as file:
                        data = file.read(most + 1)
                    return data if len(data) <= most else None
            finally:
                os.close(fd)
        return None

    def note(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object in a file; None where there is none, or something else."""
        data = self.read(name, MOST_NOTE)
        with suppress(ValueError, RecursionError):
            note = json.loads(data or b"")
            return note if isinstance(note, dict) else None
        return None

    def put(self, name: str, data: bytes) -> None:
        """Write a file in one step, and remove what killed writers left.

        Raises:
            OSError: it cannot be written.
        """
        with self._opened(create=True) as folder:
            fresh, fd = _begin(folder, name)
            with os.fdopen(fd, "wb") as file:
                try:
                    file.write(data)
                    file.flush()
                    os.replace(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    os.unlink(fresh, dir_fd=folder)
                    raise
        self.clean(dry_run=False)

    def put_note(self, name: str, note: Mapping[str, Any]) -> None:
        """Write a JSON object; names that are not UTF-8 survive as surrogates, escaped.

        Raises:
            OSError: it cannot be written.
        """
        self.put(name, json.dumps(note).encode())

    def remove(self, name: str) -> None:
        """Remove a file of our own names, if it can be."""
        if _OURS.fullmatch(name):
            with suppress(OSError), self._opened() as folder:
                os.unlink(name, dir_fd=folder)

    def clean(self, *, dry_run: bool) -> list[tuple[str, int]]:
        """Remove what killed writers left, if it can be; return names, and the bytes each takes."""
        gone = []
        with suppress(OSError), self._opened() as folder:
            for name, size in _abandoned(folder):
                with suppress(OSError):
                    if not dry_run:
                        os.unlink(name, dir_fd=folder)
                    gone.append((name, size))
        return gone

    @contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[int]:
        if create:
            self._base.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._base, _DIRECTORY)
        try:
            for name in self._names:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=fd)
                below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
                if os.fstat(fd).st_uid != os.geteuid():
                    raise PermissionError(f"{self.path} is another user's")
            yield fd
        finally:
            os.close(fd)


def folder(name: str) -> CacheFolder:
    """Return a folder of the user's cache; for a user without a home, a place where nothing can be kept."""
    try:
        path = user_cache_path("haulout")
    except RuntimeError:
        return CacheFolder(Path(os.devnull), "haulout", name)
    return CacheFolder(path.parent, path.name, name)


def path_in(note: Mapping[str, Any]) -> Path | None:
    """Return the path that a note is about; None where it is none that a file can have."""
    path = note.get("path")
    with suppress(ValueError):
        if isinstance(path, str) and path.startswith("/") and "\0" not in path and os.fsencode(path):
            return Path(path)
    return None


def _is_ours(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _begin(folder: int, name: str) -> tuple[str, int]:
    """Create a file under way, and lock it: the lock dies with its process, which tells others that it was killed."""
    while True:
        fresh = f".{name}.{os.urandom(4).hex()}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(fresh, flags, 0o600, dir_fd=folder)
        # Between creation and lock another process may have taken it for abandoned: then begin again.
        with suppress(OSError):
            if not hold(fd) or not os.fstat(fd).st_nlink:
                os.close(fd)
                continue
        return fresh, fd


def _abandoned(folder: int) -> Iterator[tuple[str, int]]:
    """Yield the name, and the bytes it takes, of each file that a killed process left under way."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry, _ in zip(entries, range(_MOST_NAMES), strict=False):
            if _UNDER_WAY.fullmatch(entry.name):
                with suppress(OSError):
                    fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
                    try:
                        status = os.fstat(fd)
                        if _is_ours(status) and _is_unlocked(fd, status):
                            yield entry.name, status.st_blocks * 512
                    finally:
                        os.close(fd)


def _is_unlocked(fd: int, status: os.stat_result) -> bool:
    try:
        return hold(fd)
    except OSError:
        return time.time() - status.st_mtime > _ABANDONED
