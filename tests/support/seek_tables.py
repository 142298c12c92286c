"""Reading the seek table of a seekable zstd file; nothing else here needs one, readers use the table of contents."""

from __future__ import annotations

import struct

from haulout.errors import InvalidToc
from haulout.frames.seektable import SEEKABLE_MAGIC, SKIPPABLE_MAGIC, seek_table_size

_HEADER = struct.Struct("<II")
_FOOTER = struct.Struct("<IBI")


def decode_seek_table(data: bytes) -> tuple[list[int], list[int]]:
    """Return the compressed and plain sizes of a seek table without checksums.

    Raises:
        InvalidToc: it is not a seek table, or its parts contradict one another.
    """
    if len(data) < seek_table_size(0):
        raise InvalidToc("the seek table is truncated")
    magic, following = _HEADER.unpack_from(data)
    frames, descriptor, seekable = _FOOTER.unpack_from(data, len(data) - _FOOTER.size)
    if magic != SKIPPABLE_MAGIC or seekable != SEEKABLE_MAGIC or descriptor != 0:
        raise InvalidToc("the blob does not end in a seek table")
    if len(data) != seek_table_size(frames) or following != len(data) - _HEADER.size:
        raise InvalidToc("the seek table's size does not fit its number of frames")
    entries = struct.unpack_from(f"<{2 * frames}I", data, _HEADER.size)
    return list(entries[0::2]), list(entries[1::2])
