"""Files that are replaced whole: readers see the old one or the new one, and a killed writer leaves the old one."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

PRIVATE: Final = 0o600


def umask() -> int:
    """Return the process's umask without changing it, which other threads would see."""
    if sys.platform == "linux":
        with suppress(OSError), Path("/proc/self/status").open(encoding="utf-8", errors="replace") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    # Elsewhere a fresh file shows it.
    with tempfile.TemporaryDirectory(prefix="haulout-") as folder:
        fd = os.open(Path(folder, "new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            return ~os.fstat(fd).st_mode & 0o666
        finally:
            os.close(fd)


def mode_for(target: Path) -> int:
    """Return the permissions of a file that replaces ``target``: those of what is there, else what the umask leaves."""
    try:
        return target.stat().st_mode & 0o7777
    except OSError:
        return 0o666 & ~umask()


def inherit(fd: int, target: Path) -> None:
    """Give a fresh file the permissions of the one at ``target`` that it replaces, and its owner where that is allowed.

    Where nothing is there, it gets what the umask leaves.

    Raises:
        OSError: the file system refuses the permissions.
    """
    try:
        there = target.lstat()
    except OSError:
        os.fchmod(fd, 0o666 & ~umask())
        return
    own = os.fstat(fd)
    if (there.st_uid, there.st_gid) != (own.st_uid, own.st_gid):
        # Only root may; the file is its maker's otherwise.
        with suppress(OSError):
            os.fchown(fd, there.st_uid, there.st_gid)
    os.fchmod(fd, there.st_mode & 0o777)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable, where the file system can and the folder may be read."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        # A folder to drop files into: the result is there, and an error now would deny it.
        return
    try:
        with suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def replacing(target: Path, *, mode: int | None = None, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a fresh file beside ``target`` that takes its place when the block ends well, and vanishes otherwise.

    Args:
        target: where the result appears; a symbolic link is replaced, not followed.
        mode: permissions; None: as :func:`mode_for`.
        durable: sync file and folder; a cache does without.

    Raises:
        OSError: the file system refuses; what was there is untouched.
    """
    fd, fresh = _fresh(target)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fchmod(fd, mode_for(target) if mode is None else mode)
            if durable:
                os.fsync(fd)
        fresh.replace(target)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
    if durable:
        sync_folder(target.parent)


def replace_file(target: Path, data: bytes, *, mode: int | None = None, durable: bool = True) -> None:
    """Write ``data`` to ``target`` in one step; as :func:`replacing`."""
    with replacing(target, mode=mode, durable=durable) as file:
        file.write(data)


def _fresh(target: Path) -> tuple[int, Path]:
    while True:
        fresh = target.with_name(f".{target.name[:200]}.{os.urandom(4).hex()}.new")
        with suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(fresh, flags, PRIVATE), fresh


@contextmanager
def appearing(target: Path, data: bytes) -> Iterator[Callable[[], None]]:
    """Prepare a file for its owner alone; calling what is yielded puts it at ``target``, where nothing must be yet.

    Raises:
        OSError: the file system refuses; from that call FileExistsError, too.
    """
    fd, fresh = _nameless(target.parent) or _fresh(target)
    try:
        # A disk that fills up takes a part before it refuses.
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)

        def place() -> None:
            # A link rather than a rename: it replaces nothing. Only with a descriptor Python follows /proc.
            os.link(fresh or f"/proc/self/fd/{fd}", target, src_dir_fd=fd if fresh is None else None)
            sync_folder(target.parent)

        yield place
    finally:
        os.close(fd)
        if fresh is not None:
            with suppress(OSError):
                fresh.unlink()


def _nameless(folder: Path) -> tuple[int, None] | None:
    """Open a file that a killed process leaves no trace of, where the file system has such files."""
    with suppress(OSError):
        if sys.platform == "linux":
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, PRIVATE), None
    return None
