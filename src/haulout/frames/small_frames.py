"""Crumbs: the smallest of the new frames once more, together in one blob that is fetched by one request.

Format: docs/formats/crumbs.md. A disk made afresh differs from the one before in thousands of places of a block or two
(directories, inode tables), each of which would be a request of its own. Like hints, crumbs prove nothing.
"""

from __future__ import annotations

import hashlib
import io
import struct
from typing import TYPE_CHECKING, Final

import numpy as np
import zstandard

from haulout.errors import InvalidFrame
from haulout.frames.codec import MAX_WINDOW
from haulout.frames.framing import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.frames.codec import FrameCompressor
    from haulout.frames.toc import Toc

MAX_CRUMB: Final = 8
"""Longest frame, in blocks, that is a crumb (32 KiB)."""

MAX_CRUMBS_BYTES: Final = 64 * 1024 * 1024
"""Largest blob of crumbs that is written or read."""

_MAGIC: Final = b"haulcrm1"
_HEADER: Final = struct.Struct("<8sII")
_TOGETHER: Final = 1024 * 1024
"""Plain bytes compressed together, at most."""


class CrumbGatherer:
    """Gathers crumbs in the order of the disk. Its memory is that of the blob it makes."""

    def __init__(self, compressor: FrameCompressor) -> None:
        self._compressor = compressor
        self._numbers: list[int] = []
        self._together = bytearray()
        self._stored: list[bytes] = []
        self._size = 0

    def add(self, frame: int, plain: bytes) -> None:
        """Add frame number ``frame`` of the table of contents. What would make the blob too large is left out."""
        if self._size + len(self._together) + 4 * len(self._numbers) > MAX_CRUMBS_BYTES // 2:
            return
        if len(self._together) + len(plain) > _TOGETHER:
            self._compress()
        self._numbers.append(frame)
        self._together += plain

    def finish(self) -> bytes:
        """Return the bytes of the blob; none where there are no crumbs."""
        if not self._numbers:
            return b""
        self._compress()
        numbers = np.array(self._numbers, dtype="<u4").tobytes()
        return _HEADER.pack(_MAGIC, len(self._numbers), 0) + numbers + b"".join(self._stored)

    def _compress(self) -> None:
        if self._together:
            self._stored.append(self._compressor.compress(bytes(self._together)))
            self._size += len(self._stored[-1])
            self._together.clear()


def crumb_frames(data: bytes, toc: Toc) -> list[int]:
    """Return which frames of ``toc`` a blob of crumbs says to hold, ascending.

    Args:
        data: the blob, or as much of its beginning as holds the list.
        toc: of the same disk.

    Raises:
        InvalidFrame: it is no blob of crumbs, or not of this table.
    """
    if len(data) < _HEADER.size:
        raise InvalidFrame("the crumbs are truncated")
    magic, count, reserved = _HEADER.unpack_from(data)
    if magic != _MAGIC or reserved or count > len(toc) or len(data) < _HEADER.size + 4 * count:
        raise InvalidFrame("the crumbs are of an unknown format")
    numbers = np.frombuffer(data, "<u4", count, _HEADER.size)
    if count and (int(numbers.max()) >= len(toc) or (np.diff(numbers.astype(np.int64)) <= 0).any()):
        raise InvalidFrame("the crumbs are not in the order of the disk")
    if (toc.kinds[numbers] != Kind.DATA).any() or (toc.blocks[numbers] > MAX_CRUMB).any():
        raise InvalidFrame("the crumbs hold frames that cannot be crumbs")
    found: list[int] = numbers.tolist()
    return found


def read_crumbs(data: bytes, toc: Toc) -> Iterator[tuple[int, bytes]]:
    """Yield (frame, plain bytes) of each crumb, each checked against ``toc``. Holds one crumb at a time.

    Raises:
        InvalidFrame: as :func:`crumb_frames`, or they are damaged, or one is not what the table says; those before are
            right nevertheless.
    """
    numbers = crumb_frames(data, toc)
    stored = memoryview(data)[_HEADER.size + 4 * len(numbers) :]
    reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
        io.BytesIO(stored), read_across_frames=True
    )
    with reader:
        for number in numbers:
            try:
                plain = reader.read(toc.plain_size(number))
            except zstandard.ZstdError as exc:
                raise InvalidFrame(f"the crumbs are damaged ({exc})") from exc
            if hashlib.sha256(plain).digest() != toc.sha256[number].tobytes():
                raise InvalidFrame(f"the crumb for frame {number} is not what the table of contents promises")
            yield number, plain
