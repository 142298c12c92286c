"""Expanding other people's blobs: one compressed stream, decoded in bounded steps.

Only the first bytes decide what a blob is; media types and titles are claims.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

import zstandard

from haulout.errors import ContentError, InvalidFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEP: Final = 1 << 20
"""Plain bytes decoded at a time: what a bomb can make us hold."""

_MAX_WINDOW: Final = 128 * 1024 * 1024
"""Largest zstd window in bytes: the limit of the zstd command line without ``--long=28``."""

_XZ_MEMORY: Final = 160 * 1024 * 1024
"""Memory for xz; its own highest preset needs 65 MiB."""

_SMALLER: Final[dict[str | None, str]] = {
    "zst": "its window is larger than 128 MiB; ask its publisher for --long=27 at most, "
    "or unpack the file with: zstd -d --long=31",
    "xz": "it needs more than 160 MiB; ask its publisher for a preset of xz (-9 at most), "
    "or unpack the file with: xz -d",
}
"""Ways out where a stream wants more memory than is granted."""


class Source(Protocol):
    """Bytes in order, as many as asked for, fewer only at the end."""

    def read(self, amount: int = -1, /) -> bytes:
        """Return up to ``amount`` bytes."""


def sniff(head: bytes) -> str | None:
    """Name the compression a blob's first bytes show (``zst``, ``gz``, ``xz``, ``bz2``), or None for none.

    Raises:
        ContentError: an archive or compression that is not read.
    """
    if head[:4] == b"PK\x03\x04":
        raise ContentError("the blob is a zip archive", hint="ask its publisher for zstd, gzip, xz or a plain disk")
    if head[:4] == b"\x04\x22\x4d\x18":
        raise ContentError(
            "the blob is compressed with lz4", hint="ask its publisher for zstd, gzip, xz or a plain disk"
        )
    for name, magic in _MAGIC.items():
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return "zst"
    return None


_MAGIC: Final = {"zst": b"\x28\xb5\x2f\xfd", "gz": b"\x1f\x8b", "xz": b"\xfd7zXZ\x00", "bz2": b"BZh"}


def expand(source: Source, compression: str | None) -> Iterator[bytes]:
    """Yield the plain bytes of ``source`` in bounded pieces (1 MiB; 64 MiB for a hostile zstd stream).

    All members of a multi-member stream are decoded; anything behind the last member is an error.

    Raises:
        InvalidFrame: the stream is damaged, truncated, or needs more memory than is granted.
    """
    try:
        yield from _EXPANDERS[compression](source)
    except (zstandard.ZstdError, lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        detail = str(exc) or type(exc).__name__
        hint = _SMALLER.get(compression) if "memory" in detail.lower() else None
        raise InvalidFrame(f"the blob does not decompress as {compression}: {detail}", hint=hint) from exc


def _plain(source: Source) -> Iterator[bytes]:
    while piece := source.read(STEP):
        yield piece


def _zstd(source: Source) -> Iterator[bytes]:
    # Fed in small steps because a step's output cannot be capped: four bytes decode to 128 KiB at most.
    context = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    decoder = context.decompressobj()
    begun = False
    while fed := source.read(STEP):
        position = 0
        while position < len(fed):
            step = fed[position : position + _ZSTD_STEP]
            position += len(step)
            while step:
                if decoder.eof:
                    decoder = context.decompressobj()
                begun = True
                if piece := decoder.decompress(step):
                    yield piece
                step = decoder.unused_data if decoder.eof else b""
    if begun and not decoder.eof:
        raise EOFError("it ends in the middle of a frame")


_ZSTD_STEP: Final = 2048


def _gzip(source: Source) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=cast("BinaryIO", _Reader(source)), mode="rb") as reader:
        while piece := reader.read(STEP):
            yield piece


def _xz(source: Source) -> Iterator[bytes]:
    yield from _members(source, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY))


def _bz2(source: Source) -> Iterator[bytes]:
    yield from _members(source, bz2.BZ2Decompressor)


_EXPANDERS: Final = {None: _plain, "zst": _zstd, "gz": _gzip, "xz": _xz, "bz2": _bz2}


def _members(source: Source, new: Callable[[], lzma.LZMADecompressor | bz2.BZ2Decompressor]) -> Iterator[bytes]:
    pending = source.read(STEP)
    while pending:
        decoder = new()
        while not decoder.eof:
            if decoder.needs_input:
                if not pending and not (pending := source.read(STEP)):
                    raise EOFError("it ends in the middle of a stream")
                piece, pending = decoder.decompress(pending, STEP), b""
            else:
                piece = decoder.decompress(b"", STEP)
            if piece:
                yield piece
        pending = decoder.unused_data or source.read(STEP)
        # xz pads streams with multiples of four zero bytes.
        while pending and not pending.strip(b"\0"):
            pending = source.read(STEP)
        pending = pending.lstrip(b"\0") if pending[:1] == b"\0" else pending


class _Reader:
    """The part of a file that the decompressors of the standard library need."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, amount: int = -1) -> bytes:
        return self._source.read(STEP if amount < 0 else amount)
