"""One frame: compressing it, decoding it against its promise, and the frame of zeros.

Frames are ordinary zstd frames (RFC 8878) that state their content size, use no dictionary and carry no checksum of
their own: the TOC holds a SHA-256 of the plain bytes.
"""

from __future__ import annotations

import hashlib
import threading
from functools import lru_cache
from typing import Final

import zstandard

from haulout.errors import InvalidFrame

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_RLE_BLOCK: Final = 128 * 1024
"""Most bytes one zstd block decodes to (RFC 8878, 3.1.1.2.4)."""
MAX_WINDOW: Final = 8 * 1024 * 1024
"""Largest window a frame may ask for: the largest data frame."""


class FrameCompressor:
    """Compresses frames at one level, on any thread."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._local = threading.local()

    def compress(self, plain: bytes | memoryview) -> bytes:
        """Return ``plain`` as one zstd frame. The same input, level and libzstd give the same bytes."""
        context: zstandard.ZstdCompressor | None = getattr(self._local, "context", None)
        if context is None:
            context = zstandard.ZstdCompressor(level=self._level, write_checksum=False, write_content_size=True)
            self._local.context = context
        return context.compress(plain)


class FrameDecoder:
    """Decodes frames and checks them against their TOC entry, on any thread."""

    def __init__(self) -> None:
        self._local = threading.local()

    def decode(self, frame: bytes, size: int, sha256: bytes, where: str) -> bytes:
        """Return the ``size`` plain bytes of ``frame``.

        Args:
            frame: exactly one compressed frame.
            size: bytes it must decode to; nothing larger is ever allocated.
            sha256: the 32 bytes its plain bytes must hash to.
            where: names the frame in errors.

        Raises:
            InvalidFrame: it is not a zstd frame, promises another size, asks for a dictionary or a huge window, or
                holds other bytes than the TOC says.
        """
        plain, _ = self._expand(frame, size, where)
        if len(plain) != size or hashlib.sha256(plain).digest() != sha256:
            raise InvalidFrame(
                f"{where} does not match its table of contents",
                hint="the registry or something between holds damaged data; try another mirror, or push again",
            )
        return plain

    def holds(self, frame: bytes, plain: bytes | memoryview) -> bool:
        """Whether ``frame`` is one that may be published, and decodes to exactly ``plain``."""
        try:
            found, has_checksum = self._expand(frame, len(plain), "frame")
        except InvalidFrame:
            return False
        return not has_checksum and found == plain

    def _expand(self, frame: bytes, size: int, where: str) -> tuple[bytes, bool]:
        """Return the plain bytes, not compared with anything yet, and whether zstd's own checksum is there."""
        try:
            parameters = zstandard.get_frame_parameters(frame)
            if parameters.content_size != size:
                raise InvalidFrame(f"{where} promises {parameters.content_size} bytes where its table says {size}")
            if parameters.dict_id or parameters.window_size > max(MAX_WINDOW, size):
                raise InvalidFrame(f"{where} asks for a dictionary or for a window of {parameters.window_size} bytes")
            context: zstandard.ZstdDecompressor | None = getattr(self._local, "context", None)
            if context is None:
                context = self._local.context = zstandard.ZstdDecompressor()
            plain = context.decompress(frame, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as exc:
            raise InvalidFrame(f"{where} is damaged ({exc})") from exc
        return plain, parameters.has_checksum


@lru_cache(maxsize=64)
def zero_frame(size: int) -> bytes:
    """Return a zstd frame of ``size`` zero bytes: run-length blocks under a 128 KiB window, 4 bytes for each 128 KiB.

    Written by hand because it is exact (no library version changes it) and costs no time for a terabyte of holes.
    """
    if not 0 < size < 1 << 32:
        raise ValueError(f"a zero frame of {size} bytes")
    # Frame header descriptor: 4-byte content size, no single segment, no checksum, no dictionary (RFC 8878, 3.1.1.1.1);
    # window descriptor: exponent 7, mantissa 0 = 2^(10+7) bytes.
    out = bytearray(_MAGIC + b"\x80" + bytes([7 << 3]) + size.to_bytes(4, "little"))
    whole, rest = divmod(size, _RLE_BLOCK)
    blocks = [_RLE_BLOCK] * whole + ([rest] if rest else [])
    for number, length in enumerate(blocks):
        last = number == len(blocks) - 1
        out += (length << 3 | 1 << 1 | last).to_bytes(3, "little") + b"\0"
    return bytes(out)
