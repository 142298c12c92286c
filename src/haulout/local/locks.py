"""Locks that die with their holder, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from haulout.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_POLL: Final = 0.02
_FLOCK: Final = "hhqqi4x"
"""struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""
_HAS_OFD: Final = sys.platform == "linux"
"""Locks of open file descriptions (fcntl(2)): network file systems that know no flock have them."""


def hold(fd: int, *, seconds: float = 0.0, shared: bool = False) -> bool:
    """Take the lock of an open file or directory, waiting at most so long; False where another holds it.

    The lock is given back when the last descriptor of this open file is closed. Threads exclude each other, too,
    where each opens the file anew.

    Raises:
        OSError: the file system has no locks.
    """
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    return _patiently(lambda: fcntl.flock(fd, kind), seconds)


def hold_record(fd: int, *, seconds: float = 0.0) -> bool:
    """As :func:`hold`, by a record lock, for places where ``flock`` is local to one machine (NFS).

    Raises:
        OSError: the file system has no locks.
    """
    if not _HAS_OFD:
        return hold(fd, seconds=seconds)
    whole = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    return _patiently(lambda: fcntl.fcntl(fd, fcntl.F_OFD_SETLK, whole), seconds)


def _patiently(take: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            take()
        except OSError as exc:
            # fcntl(2): EAGAIN or EACCES, whichever the system prefers.
            if exc.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        else:
            return True


@contextmanager
def locked(path: Path, *, seconds: float, busy: str, shared: bool = False) -> Iterator[int]:
    """Hold the lock of a file, created where it is not there, or of a directory, for as long as the block lasts.

    Args:
        path: what is locked; a lock file is best left in place afterwards.
        seconds: how long to wait.
        busy: the error's text where another holds it all that time.
        shared: whether others may hold it so at once.

    Yields:
        The open descriptor.

    Raises:
        ConflictError: another process or thread holds it.
        OSError: it cannot be opened or locked.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY if path.is_dir() else os.O_RDWR | os.O_CREAT | os.O_NONBLOCK
    deadline = time.monotonic() + seconds
    while True:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not hold(fd, seconds=deadline - time.monotonic(), shared=shared):
                raise ConflictError(busy, hint="wait for it to end, or stop it")
            # Its last holder may have removed or replaced the file meanwhile.
            with suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), os.fstat(fd)):
                    yield fd
                    return
        finally:
            os.close(fd)
