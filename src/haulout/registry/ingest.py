"""Takes a blob whose digest is known only at its end: an unlinked temporary file, hashed while it is written."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from haulout.errors import StorageError
from haulout.oci import Descriptor, Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.progress import Task


Push: TypeAlias = "Callable[[Descriptor, Callable[[], BinaryIO], Task | None, str | None], None]"
"""How a blob of known digest is stored: its descriptor, what opens it, a task, and where it may be mounted from."""


class SpooledBlob:
    """Satisfies ``content.ports.Ingest``."""

    def __init__(self, fd: int, push: Push) -> None:
        self._fd = fd
        self._push = push
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes.

        Raises:
            StorageError: the temporary directory is full, or cannot be written.
        """
        rest = memoryview(data).cast("B")
        self._hash.update(rest)
        self._size += len(rest)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except OSError as exc:
                raise unspoolable(exc) from exc

    def commit(self, media_type: str, task: Task | None = None, *, mount_from: str | None = None) -> Descriptor:
        """Store what was written.

        Raises:
            HauloutError: as pushing a blob of known digest does.
        """
        descriptor = Descriptor(media_type, Digest(self._hash.hexdigest()), self._size)
        self._push(descriptor, self._open, task, mount_from)
        return descriptor

    def _open(self) -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(_Window(self._fd), 1024 * 1024))


@contextmanager
def spool(push: Push) -> Iterator[SpooledBlob]:
    """Begin a blob in the directory that ``TMPDIR`` names; nothing remains of it afterwards.

    Raises:
        StorageError: there is no usable temporary directory.
    """
    try:
        file = tempfile.TemporaryFile(buffering=0, prefix="haulout-")  # noqa: SIM115 - closed below, opened apart
    except OSError as exc:
        raise unspoolable(exc) from exc
    with file:
        yield SpooledBlob(file.fileno(), push)


def unspoolable(exc: OSError) -> StorageError:
    """Say that the temporary directory fails."""
    reason = "no space left" if exc.errno in {errno.ENOSPC, errno.EDQUOT} else exc.strerror or str(exc)
    return StorageError(
        tempfile.gettempdir() if exc.filename is None else str(exc.filename),
        f"cannot hold a blob on its way to the registry: {reason}",
        hint="set TMPDIR to a directory with room for the compressed disk",
    )


class _Window(io.RawIOBase):
    """Reads the file from its start without moving the offset it is written at."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._fd).st_size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        count = os.preadv(self._fd, [buffer], self._position)
        self._position += count
        return count
