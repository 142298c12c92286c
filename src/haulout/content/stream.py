"""Bytes of an open file as a blob stream."""

from __future__ import annotations

import os
from typing import Self

from haulout.errors import SizeMismatch
from haulout.local import storage_errors


class FileStream:
    """Bytes of a file that begin at ``offset`` in it, read by position; closed by leaving the ``with`` block."""

    def __init__(self, fd: int, start: int, stop: int, what: str, offset: int = 0) -> None:
        self.start = start
        self.stop = stop
        self._fd = fd
        self._position = start
        self._offset = offset
        self._what = what

    def read(self, amount: int) -> bytes:
        """Return exactly ``amount`` bytes, fewer only at ``stop``.

        Raises:
            SizeMismatch: the file was cut while being read.
            StorageError: the disk cannot be read.
        """
        want = min(amount, self.stop - self._position)
        parts: list[bytes] = []
        with storage_errors(self._what):
            while want > 0:
                part = os.pread(self._fd, want, self._offset + self._position)
                if not part:
                    raise SizeMismatch(self._what, self.stop, self._position)
                parts.append(part)
                self._position += len(part)
                want -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
