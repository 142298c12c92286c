"""Open files: opened without waiting for pipes, read at a position of their own, written whole."""

from __future__ import annotations

import fcntl
import io
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from haulout.errors import NotFoundError, StorageError
from haulout.local.oserrors import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def open_regular(
    path: Path, what: str = "a regular file", *, follow: bool = True, must_exist: bool = False
) -> Iterator[int]:
    """Open a file for reading, for as long as the block lasts.

    Args:
        path: what to open.
        what: what it has to be, for errors: ``a disk image``.
        follow: whether a symbolic link is followed.
        must_exist: whether a missing file is a StorageError, too.

    Raises:
        NotFoundError: there is no such file.
        StorageError: it is not a regular file (a pipe, a device, a directory), or cannot be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with storage_errors(path):
        try:
            # Not blocking: a pipe of that name must not hold everything up.
            fd = os.open(path, flags)
        except FileNotFoundError:
            if must_exist:
                raise
            raise NotFoundError(f"no such file: {path}") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StorageError(os.fspath(path), f"it is not {what}")
        yield fd
    finally:
        os.close(fd)


def read_small(
    path: Path, most: int, what: str = "a regular file", *, too_large: Callable[[str], Exception] | None = None
) -> bytes:
    """Return the content of a file of at most ``most`` bytes; as :func:`open_regular`.

    Args:
        path: what to read.
        most: bytes.
        what: what it has to be, for errors.
        too_large: makes the error about a larger file from a reason; None: a StorageError.
    """
    with open_regular(path, what) as fd, storage_errors(path), open(fd, "rb", closefd=False) as file:
        data = file.read(most + 1)
    if len(data) > most:
        reason = f"it is larger than {most} bytes, the most that is read"
        raise StorageError(os.fspath(path), reason) if too_large is None else too_large(reason)
    return data


def read_head(path: Path, most: int) -> bytes:
    """Return the first ``most`` bytes of a file of any kind, a pipe included; fewer where it ends before.

    Raises:
        NotFoundError: there is no such file.
        StorageError: it is a directory, or cannot be read.
    """
    with storage_errors(path):
        try:
            with path.open("rb") as file:
                return file.read(most)
        except FileNotFoundError:
            raise NotFoundError(f"no such file: {path}") from None


class _Positioned(io.RawIOBase):
    """Reads a descriptor from a position of its own, whatever others do with it."""

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed names a private protocol
        count = os.preadv(self._fd, [buffer], self._offset)
        self._offset += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: os.fstat(self._fd).st_size}[whence]
        self._offset = start + offset
        return self._offset

    def tell(self) -> int:
        return self._offset

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._fd)


def reopen(fd: int) -> BinaryIO:
    """Open an open file again for reading, from its beginning; the caller closes it.

    On Linux ``/proc/self/fd`` would do; elsewhere such names share the position of the first descriptor.
    """
    return cast("BinaryIO", io.BufferedReader(_Positioned(fd), 1 << 16))


def descriptor_name(descriptor: int) -> str:
    """Return the name under which an open file is shown in messages; never for opening it again."""
    try:
        if get_path := getattr(fcntl, "F_GETPATH", None):  # macOS
            return os.fsdecode(fcntl.fcntl(descriptor, get_path, bytes(1024)).rstrip(b"\0"))
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return f"file descriptor {descriptor}"
