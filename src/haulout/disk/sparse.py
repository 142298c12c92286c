"""Sparse files: where the data is, and making holes.

Each system call has a fallback for file systems, and systems, that lack it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.local import descriptor_name, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 4096
"""Bytes of the smallest hole worth keeping: the block of nearly every file system, and the page of the cache."""

_ZEROS = bytes(64 << 10)  # stays in the cache of a core while it is compared with

# <linux/falloc.h>
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02

_SEEK_DATA = getattr(os, "SEEK_DATA", None)
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Extent:
    """A piece of a file, in bytes."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """Return the offset just behind the piece."""
        return self.offset + self.length


def size_of(descriptor: int) -> int:
    """Return the bytes of an open file or block device; moves the position of a device.

    Raises:
        OSError: it cannot be examined.
    """
    status = os.fstat(descriptor)
    return os.lseek(descriptor, 0, os.SEEK_END) if stat.S_ISBLK(status.st_mode) else status.st_size


def is_zero(buffer: bytes | bytearray | memoryview) -> bool:
    """Return whether every byte is zero; an empty buffer is.

    ``bytes.startswith`` is a memcmp over the buffer itself, the fastest look at memory the standard library has.
    """
    with memoryview(buffer).cast("B") as view:
        # Most data betrays itself at once.
        if view and (view[0] or view[-1]):
            return False
        for start in range(0, len(view), len(_ZEROS)):
            with view[start : start + len(_ZEROS)] as piece:
                if not _ZEROS.startswith(piece):
                    return False
    return True


def data_extents(descriptor: int, size: int) -> Iterator[Extent]:
    """Yield where the first ``size`` bytes of a file hold data, in order; everything between reads as zeros.

    Extents are widened to multiples of :data:`BLOCK` (the last one ends at ``size`` at most) and never touch.
    Where the file system does not know, all of the file is one extent. Moves the descriptor's position.

    Raises:
        StorageError: the file cannot be searched.
    """
    pending: Extent | None = None
    position = 0
    while position < size:
        try:
            start, end = _next_data(descriptor, position)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            if error.errno not in _UNSUPPORTED:
                doing = "cannot be searched for holes"
                raise storage_error(descriptor_name(descriptor), error, doing=doing) from error
            start, end = position, size
        if start >= size:
            break
        found_start = start - start % BLOCK
        found_end = min(-(-end // BLOCK) * BLOCK, size)
        if pending is not None and found_start <= pending.end:
            pending = Extent(pending.offset, max(found_end, pending.end) - pending.offset)
        else:
            if pending is not None:
                yield pending
            pending = Extent(found_start, found_end - found_start)
        position = max(end, position + 1)
    if pending is not None:
        yield pending


def _next_data(descriptor: int, position: int) -> tuple[int, int]:
    if _SEEK_DATA is None:
        raise OSError(errno.ENOSYS, "no SEEK_DATA")
    start = os.lseek(descriptor, position, _SEEK_DATA)
    return start, os.lseek(descriptor, start, os.SEEK_HOLE)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Make a piece of a file read as zeros, freeing its blocks where the file system can; the file keeps its size.

    Raises:
        StorageError: the file cannot be written.
    """
    if length <= 0:
        return
    code = _fallocate()(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, length)
    if code == 0:
        return
    if code not in _UNSUPPORTED:
        raise storage_error(descriptor_name(descriptor), OSError(code, os.strerror(code)), doing="cannot make a hole")
    try:
        end = min(offset + length, size_of(descriptor))
        with memoryview(_ZEROS) as zeros:
            while offset < end:
                offset += os.pwrite(descriptor, zeros[: end - offset], offset)
    except OSError as error:
        raise storage_error(descriptor_name(descriptor), error, doing="cannot be written") from error


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int]:
    """Return fallocate(2), which answers 0 or an error number."""
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is None:
        return lambda _descriptor, _mode, _offset, _length: errno.ENOSYS
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int

    def call(descriptor: int, mode: int, offset: int, length: int) -> int:
        while function(descriptor, mode, offset, length) != 0:
            if (code := ctypes.get_errno()) != errno.EINTR:
                return code
        return 0

    return call
