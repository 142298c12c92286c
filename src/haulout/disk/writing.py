"""Writing disks: all of a buffer at its place, with or without its zeros."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from haulout.disk.sparse import is_zero
from haulout.errors import ContentError
from haulout.local import descriptor_name, storage_error

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLE: Final = 64 * 1024
"""Zeros are left out in units of this many bytes: finer, and a large disk becomes many small extents."""

_MAX_RATIO: Final = 2000
_SLACK: Final = 64 * 1024 * 1024
_MAX_PLAIN: Final = 1 << 44

_WRITEBACK_PAUSE: Final = 0.03
"""Seconds between two syncs, at least; a fast disk writes some 30 MB meanwhile."""


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
        raise storage_error(
            descriptor_name(fd),
            exc,
            doing=f"cannot be written at byte {offset}",
            hint="make room, or choose another place with --output; the next pull resumes with what was written",
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


def content_bytes(data: bytes | memoryview) -> int:
    """Return how many bytes of ``data`` :func:`write_sparse` would store."""
    view = memoryview(data)
    pieces = (view[start : start + HOLE] for start in range(0, len(view), HOLE))
    return sum(len(piece) for piece in pieces if not is_zero(piece))


class SparseWriter:
    """Writes plain bytes in order, leaving holes for zeros, and stops a decompression bomb.

    Args:
        fd: an empty file.
        compressed: bytes of the blob, against which the stored bytes are weighed.
    """

    def __init__(self, fd: int, compressed: int) -> None:
        self._fd = fd
        self._allowance = compressed * _MAX_RATIO + _SLACK
        self.size = 0
        """Plain bytes so far, holes included."""
        self.stored = 0
        """Plain bytes written, holes excluded."""

    def skip(self, amount: int) -> None:
        """Append ``amount`` zeros.

        Raises:
            ContentError: no disk is so large.
        """
        self.size += amount
        self._judge()

    def write(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            ContentError: no real disk decompresses to so much.
            StorageError: the file system refuses.
        """
        self.stored += write_sparse(self._fd, data, self.size)
        self.size += len(data)
        self._judge()

    def _judge(self) -> None:
        if self.stored > self._allowance or self.size > _MAX_PLAIN:
            raise ContentError(
                f"the blob is a decompression bomb: {self.stored} bytes of content so far, of {self.size}, which no "
                "disk of its compressed size holds"
            )


@contextmanager
def early_writeback(fd: int) -> Iterator[None]:
    """While the block writes to ``fd``, bring what is written to the storage already, so that a later fsync is short.

    This promises nothing: only that fsync makes data durable, and it reports what failed.
    """
    done = threading.Event()

    def work() -> None:
        pause = _WRITEBACK_PAUSE
        while not done.wait(pause):
            begun = time.monotonic()
            try:
                # Not sync_file_range(2), which leaves the storage's own cache to be flushed at the end: half the wait.
                os.fdatasync(fd)
            except OSError:
                return
            # Leave a slow disk time for more than its journal.
            pause = max(_WRITEBACK_PAUSE, (time.monotonic() - begun) / 4)

    thread = threading.Thread(target=work, name="writeback", daemon=True)
    if hasattr(os, "fdatasync"):
        thread.start()
    try:
        yield
    finally:
        done.set()
        # The descriptor must not be closed, and its number given to another file, under the thread.
        if thread.ident is not None:
            thread.join()
