"""A file of unknown origin, opened with care and read in bounded pieces."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from haulout.disk.info import Damaged
from haulout.disk.sparse import size_of
from haulout.errors import NotFoundError, UnsafeDiskError
from haulout.local import descriptor_name, storage_error, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_READ = 32 << 20
"""Bytes of one read: the largest table any supported format may have (the L1 table of qcow2 in QEMU)."""

MAX_TOTAL = 512 << 20
"""Bytes of all reads of one inspection. The tables of a disk of 1 TiB with every cluster in use need 128 MiB."""

Source = str | os.PathLike[str] | int
"""A path, or an open file descriptor."""


class Image:
    """An open file; every read is bounded, and all of them together too."""

    def __init__(self, descriptor: int, path: str, size: int, allocated: int) -> None:
        self.descriptor = descriptor
        self.path = path
        self.size = size
        self.allocated = allocated
        self._budget = MAX_TOTAL

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes at ``offset``; fewer, or none, where the file ends.

        Raises:
            Damaged: reading it takes more than any valid file needs.
            StorageError: the file cannot be read.
        """
        if length <= 0 or offset < 0 or offset >= self.size:
            return b""
        length = min(length, self.size - offset)
        if length > MAX_READ or length > self._budget:
            raise Damaged("its tables are larger than any valid disk needs", rule="oversized-tables")
        self._budget -= length
        pieces = []
        with storage_errors(self.path, doing="cannot be read"):
            while length > 0 and (piece := os.pread(self.descriptor, length, offset)):
                pieces.append(piece)
                offset += len(piece)
                length -= len(piece)
        return b"".join(pieces)

    def exact(self, offset: int, length: int, what: str) -> bytes:
        """Return ``length`` bytes at ``offset``.

        Raises:
            Damaged: they are not all there; ``what`` names them.
            StorageError: the file cannot be read.
        """
        data = self.read(offset, length)
        if len(data) != length:
            raise Damaged(f"its {what} lies outside the file", rule="truncated", hint="is the file complete?")
        return data


def _refuse_kind(mode: int, path: str, *, allow_device: bool) -> None:
    if stat.S_ISREG(mode) or (allow_device and stat.S_ISBLK(mode)):
        return
    for test, name in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a character device"),
    ):
        if test(mode):
            raise UnsafeDiskError(path, "not-a-regular-file", f"it is {name}, not a regular file")
    raise UnsafeDiskError(path, "not-a-regular-file", "it is not a regular file")


def _open(path: str, *, follow_symlinks: bool, allow_device: bool) -> int:
    try:
        # Opening some devices and pipes has effects of its own, so the kind is looked at before, and again after.
        _refuse_kind(Path(path).stat(follow_symlinks=follow_symlinks).st_mode, path, allow_device=allow_device)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        return os.open(path, flags if follow_symlinks else flags | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}", hint="check the path") from None
    except ValueError:
        raise NotFoundError(f"no such file: {path!r}", hint="a file name cannot hold a NUL character") from None
    except OSError as error:
        if error.errno == errno.ELOOP and not follow_symlinks:
            raise UnsafeDiskError(path, "not-a-regular-file", "it is a symbolic link, not a regular file") from None
        raise storage_error(path, error, doing="cannot be opened") from error


@contextmanager
def opened(
    source: Source,
    *,
    name: str | None = None,
    follow_symlinks: bool = True,
    allow_device: bool = False,
    size: int | None = None,
) -> Iterator[Image]:
    """Open ``source`` read-only for inspection, and close it unless the caller handed in a descriptor.

    Opening never waits, not even for the writer of a pipe.

    Args:
        source: a path, or an open file descriptor, which stays open and keeps its position.
        name: what to call the file in messages, where ``source`` is a descriptor.
        follow_symlinks: whether a symbolic link as the last component is followed.
        allow_device: whether a block device may be read like a file.
        size: read no further than this many bytes; None: to the end.

    Raises:
        NotFoundError: there is no such file.
        UnsafeDiskError: rule ``not-a-regular-file``.
        StorageError: the file cannot be opened.
    """
    own = not isinstance(source, int)
    if isinstance(source, int):
        descriptor = source
        path = name or descriptor_name(source)
    else:
        path = name or os.fspath(source)
        descriptor = _open(os.fspath(source), follow_symlinks=follow_symlinks, allow_device=allow_device)
    try:
        with storage_errors(path, doing="cannot be examined"):
            status = os.fstat(descriptor)
            _refuse_kind(status.st_mode, path, allow_device=allow_device)
            whole = size_of(descriptor)
        yield Image(descriptor, path, whole if size is None else min(size, whole), status.st_blocks * 512)
    finally:
        if own:
            os.close(descriptor)
