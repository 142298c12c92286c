"""Bounds the lines that come before, between and after the bytes of an answer.

Without a bound, a server may send interim answers (``100 Continue``) or trailers for as long as a deadline lasts: no
byte of them is content, and reading them costs a processor.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from io import BufferedIOBase

MOST_LINES: Final = 1000
"""Lines in a row that are read: a header has at most 100, and a few interim answers may come before it."""


class TooManyLines(http.client.HTTPException):
    """A server sends line after line, and no content."""

    def __init__(self) -> None:
        super().__init__("line after line, and no content")


class _Bounded:
    """A buffered file that gives up where lines do not end."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._lines = 0

    def readline(self, limit: int = -1) -> bytes:
        self._lines += 1
        if self._lines > MOST_LINES:
            raise TooManyLines
        return self._file.readline(limit)

    def read(self, amount: int | None = -1) -> bytes:
        self._lines = 0
        return self._file.read(amount)

    def readinto(self, buffer: Any) -> int:
        self._lines = 0
        return self._file.readinto(buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class BoundedResponse(http.client.HTTPResponse):
    """Takes the place of ``http.client.HTTPResponse`` in a connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # It has all that is asked of a file here.
        self.fp = _Bounded(self.fp)  # type: ignore[assignment]
