"""The small-frame bundle: the smallest of the new frames once more, in one blob that one request fetches.

Format: docs/formats/crumbs.md. A rebuilt disk differs from the one before in thousands of places of a block or two
(directories, inode tables), each of which would be a request of its own. The bundle proves nothing: what comes out of
it is checked against the table of contents.
"""

from __future__ import annotations

import hashlib
import io
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import zstandard

from haulout.errors import InvalidFrame
from haulout.frames.codec import MAX_WINDOW
from haulout.frames.columns import column_bytes, u32_column
from haulout.frames.framing import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.frames.codec import FrameCompressor
    from haulout.frames.toc import Toc

MAX_SMALL_FRAME: Final = 8
"""Longest frame, in blocks, that goes into a bundle (32 KiB)."""

MAX_BUNDLE_BYTES: Final = 64 * 1024 * 1024
"""Largest bundle that is written or read."""

_MAGIC: Final = b"haulcrm1"
_HEADER: Final = struct.Struct("<8sII")
_TOGETHER: Final = 1024 * 1024
"""Plain bytes compressed together, at most."""


class BundleWriter:
    """Gathers small frames in the order of the disk. Its memory is that of the blob it makes."""

    def __init__(self, compressor: FrameCompressor) -> None:
        self._compressor = compressor
        self._numbers: list[int] = []
        self._together = bytearray()
        self._stored: list[bytes] = []
        self._size = 0

    def add(self, frame: int, plain: bytes) -> None:
        """Add frame number ``frame`` of the table of contents. What would make the blob too large is left out."""
        if self._size + len(self._together) + 4 * len(self._numbers) > MAX_BUNDLE_BYTES // 2:
            return
        if len(self._together) + len(plain) > _TOGETHER:
            self._compress()
        self._numbers.append(frame)
        self._together += plain

    def finish(self) -> bytes:
        """Return the bytes of the blob; none where there are no small frames."""
        if not self._numbers:
            return b""
        self._compress()
        numbers = column_bytes(u32_column(self._numbers))
        return _HEADER.pack(_MAGIC, len(self._numbers), 0) + numbers + b"".join(self._stored)

    def _compress(self) -> None:
        if self._together:
            self._stored.append(self._compressor.compress(bytes(self._together)))
            self._size += len(self._stored[-1])
            self._together.clear()


def bundled_frames(data: bytes, toc: Toc) -> list[int]:
    """Return which frames of ``toc`` a small-frame bundle claims to hold, ascending.

    Args:
        data: the blob, or as much of its beginning as holds the list.
        toc: of the same disk.

    Raises:
        InvalidFrame: it is not a small-frame bundle, or not of this table.
    """
    if len(data) < _HEADER.size:
        raise InvalidFrame("the small-frame bundle is truncated")
    magic, count, reserved = _HEADER.unpack_from(data)
    if magic != _MAGIC or reserved or count > len(toc) or len(data) < _HEADER.size + 4 * count:
        raise InvalidFrame("the small-frame bundle is of an unknown format")
    numbers = u32_column(data[_HEADER.size : _HEADER.size + 4 * count]).tolist()
    if count and (numbers[-1] >= len(toc) or any(one >= other for one, other in pairwise(numbers))):
        raise InvalidFrame("the frames of the small-frame bundle are not in the order of the disk")
    if any(toc.kinds[number] != Kind.DATA or toc.blocks[number] > MAX_SMALL_FRAME for number in numbers):
        raise InvalidFrame("the small-frame bundle claims frames that are not small")
    return numbers


def read_bundle(data: bytes, toc: Toc) -> Iterator[tuple[int, bytes]]:
    """Yield (frame, plain bytes) of each small frame, each checked against ``toc``. Holds one at a time.

    Raises:
        InvalidFrame: as :func:`bundled_frames`; or the bundle is damaged, or a frame is not what the table says. The
            frames yielded before are right nevertheless.
    """
    numbers = bundled_frames(data, toc)
    stored = memoryview(data)[_HEADER.size + 4 * len(numbers) :]
    reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
        io.BytesIO(stored), read_across_frames=True
    )
    with reader:
        for number in numbers:
            try:
                plain = reader.read(toc.plain_size(number))
            except zstandard.ZstdError as exc:
                raise InvalidFrame(f"the small-frame bundle is damaged ({exc})") from exc
            if hashlib.sha256(plain).digest() != toc.digest(number):
                raise InvalidFrame(f"frame {number} of the small-frame bundle is not what the table of contents says")
            yield number, plain
