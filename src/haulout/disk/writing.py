"""Writing disks: all of a buffer at its place, with or without its zeros."""

from __future__ import annotations

import os
from typing import Final

from haulout.disk.image import descriptor_name
from haulout.disk.sparse import is_zero
from haulout.errors import StorageError

HOLE: Final = 64 * 1024
"""Zeros are left out in units of this many bytes: finer, and a large disk becomes many small extents."""


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``.

    Raises:
        StorageError: the file system refuses, as it does when it is full.
    """
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(fd, view, offset)
            view = view[written:]
            offset += written
    except OSError as exc:
        raise StorageError(
            descriptor_name(fd),
            f"cannot be written at byte {offset}: {(exc.strerror or str(exc)).lower()}",
            hint="make room, or choose another place with --output; what is there is kept, and continued next time",
        ) from exc


def write_sparse(fd: int, data: bytes | memoryview, offset: int) -> int:
    """Write ``data`` at ``offset`` of a file that has a hole there, leaving out zeros in units of :data:`HOLE`.

    Returns:
        The bytes written; the rest stays a hole.

    Raises:
        StorageError: the file system refuses.
    """
    view = memoryview(data)
    stored = 0
    for start in range(0, len(view), HOLE):
        piece = view[start : start + HOLE]
        if not is_zero(piece):
            write_all(fd, piece, offset + start)
            stored += len(piece)
    return stored
