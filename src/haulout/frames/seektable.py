"""The seek table: the skippable frame that ends a seekable zstd file.

Source: zstd's contrib/seekable_format, version 0.1.0. All integers are little-endian::

    0x184D2A5E u32 | bytes that follow u32 | n entries {compressed u32, plain u32}
    n u32 | descriptor u8 | 0x8F92EAB1 u32

The descriptor is 0: no checksums, the TOC has better ones.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from haulout.frames.columns import column_bytes, u32_column

if TYPE_CHECKING:
    from array import array

SKIPPABLE_MAGIC: Final = 0x184D2A5E
SEEKABLE_MAGIC: Final = 0x8F92EAB1
_HEADER: Final = struct.Struct("<II")
_FOOTER: Final = struct.Struct("<IBI")


def seek_table_size(frames: int) -> int:
    """Return the bytes of the seek table of ``frames`` frames, its own header included."""
    return _HEADER.size + 8 * frames + _FOOTER.size


def encode_seek_table(compressed: array[int], plain: array[int]) -> bytes:
    """Return the whole skippable frame for frames of these sizes in bytes."""
    entries = u32_column(bytes(8 * len(compressed)))
    entries[0::2], entries[1::2] = compressed, plain
    following = seek_table_size(len(compressed)) - _HEADER.size
    footer = _FOOTER.pack(len(compressed), 0, SEEKABLE_MAGIC)
    return _HEADER.pack(SKIPPABLE_MAGIC, following) + column_bytes(entries) + footer
