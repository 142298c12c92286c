"""Bytes that wait for their turn: a file without a name in ``$TMPDIR``, which is gone when its process is."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from haulout.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, Self

_CHUNK: Final = 1 << 20


class ScratchFile:
    """A file without a name. Leave the ``with`` block when done.

    Nothing is buffered: a byte that finds no room is told by the call that brings it.

    Args:
        what: what is held, for errors, such as ``a layer``.
        room: what there has to be room for in ``$TMPDIR``, for their hint.

    Raises:
        StorageError: it cannot be made, or from each method, not be written or read.
    """

    def __init__(self, what: str, room: str) -> None:
        self._what = what
        self._room = room
        self._size = 0
        with self._told():
            self._file = tempfile.TemporaryFile(prefix="haulout-", buffering=0)  # noqa: SIM115 - closed on exit

    def append(self, data: bytes | memoryview) -> None:
        """Write behind the last byte."""
        self.put(self._size, data)

    def put(self, offset: int, data: bytes | memoryview) -> None:
        """Write at a place, in bytes from the beginning."""
        rest = memoryview(data)
        with self._told():
            while rest:  # a disk that fills up takes a part before it refuses
                done = os.pwrite(self._file.fileno(), rest, offset)
                offset += done
                rest = rest[done:]
        self._size = max(self._size, offset)

    def parts(self) -> Iterator[bytes]:
        """Yield all of it, in order."""
        offset = 0
        while part := self._read(offset):
            yield part
            offset += len(part)

    def _read(self, offset: int) -> bytes:
        with self._told():
            return os.pread(self._file.fileno(), _CHUNK, offset)

    def opened(self) -> BinaryIO:
        """Open it for reading, with a position of its own; the caller closes it."""
        with self._told():
            return open(f"/proc/self/fd/{self._file.fileno()}", "rb")  # noqa: PTH123 - of a descriptor

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StorageError(
                _place(),
                f"cannot hold {self._what}: {(exc.strerror or str(exc)).lower()}",
                hint=f"set TMPDIR to a directory with room for {self._room}",
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()


def _place() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        # No place that the standard library knows takes a file.
        return os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - for people
