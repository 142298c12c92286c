"""The seek table: the skippable frame that ends a seekable zstd file.

Source: zstd's contrib/seekable_format, version 0.1.0. All integers are little-endian::

    0x184D2A5E u32 | bytes that follow u32 | n entries {compressed u32, plain u32}
    n u32 | descriptor u8 | 0x8F92EAB1 u32

The descriptor is 0: no checksums, the TOC has better ones.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from haulout.errors import InvalidToc

SKIPPABLE_MAGIC: Final = 0x184D2A5E
SEEKABLE_MAGIC: Final = 0x8F92EAB1
_HEADER: Final = struct.Struct("<II")
_FOOTER: Final = struct.Struct("<IBI")

Sizes = npt.NDArray[np.uint32]


def seek_table_size(frames: int) -> int:
    """Return the bytes of the seek table of ``frames`` frames, its own header included."""
    return _HEADER.size + 8 * frames + _FOOTER.size


def encode_seek_table(compressed: Sizes, plain: Sizes) -> bytes:
    """Return the whole skippable frame for frames of these sizes in bytes."""
    entries = np.empty((len(compressed), 2), dtype="<u4")
    entries[:, 0] = compressed
    entries[:, 1] = plain
    following = seek_table_size(len(compressed)) - _HEADER.size
    return (
        _HEADER.pack(SKIPPABLE_MAGIC, following) + entries.tobytes() + _FOOTER.pack(len(compressed), 0, SEEKABLE_MAGIC)
    )


def decode_seek_table(data: bytes) -> tuple[Sizes, Sizes]:
    """Return the compressed and plain sizes of a seek table without checksums.

    Raises:
        InvalidToc: it is none, or its parts contradict one another.
    """
    if len(data) < seek_table_size(0):
        raise InvalidToc("the seek table is truncated")
    magic, following = _HEADER.unpack_from(data)
    frames, descriptor, seekable = _FOOTER.unpack_from(data, len(data) - _FOOTER.size)
    if magic != SKIPPABLE_MAGIC or seekable != SEEKABLE_MAGIC or descriptor != 0:
        raise InvalidToc("the blob does not end in a seek table")
    if len(data) != seek_table_size(frames) or following != len(data) - _HEADER.size:
        raise InvalidToc("the seek table's size does not fit its number of frames")
    entries = np.frombuffer(data, dtype="<u4", count=2 * frames, offset=_HEADER.size).reshape(frames, 2)
    return entries[:, 0].astype(np.uint32), entries[:, 1].astype(np.uint32)
