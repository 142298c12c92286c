"""Extent trees: in the inode up to four extents, behind the file's data for more.

Source: the Linux kernel's documentation of ext4, "Extent Tree".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from haulout.workload.ext4.crc32c import crc32c
from haulout.workload.ext4.geometry import BLOCK, Extent

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC: Final = 0xF30A
_HEADER: Final = struct.Struct("<HHHHI")
_LEAF: Final = struct.Struct("<IHHI")
_INDEX: Final = struct.Struct("<IIHH")
IN_INODE: Final = 4
_IN_BLOCK: Final = (BLOCK - 12) // 12


def tree_blocks(extents: int) -> int:
    """Return how many blocks a tree of so many extents takes outside the inode."""
    blocks = 0
    while extents > IN_INODE:
        extents = -(-extents // _IN_BLOCK)
        blocks += extents
    return blocks


def build(extents: list[Extent], places: list[int], seed: int) -> tuple[bytes, list[bytes]]:
    """Return the 60 bytes for the inode, and the contents of the blocks at ``places``.

    Args:
        extents: all of a file, ascending.
        places: as many blocks as ``tree_blocks`` says.
        seed: of the inode's checksums.
    """
    blocks: list[bytes] = []
    depth = 0
    places_left = iter(places)
    level = [(first, _LEAF.pack(first, count, start >> 32, start & 0xFFFF_FFFF)) for first, start, count in extents]
    while len(level) > IN_INODE:
        above = []
        for part in _parts(level):
            place = next(places_left)
            node = _HEADER.pack(_MAGIC, len(part), _IN_BLOCK, depth, 0) + b"".join(record for _, record in part)
            node = node.ljust(BLOCK - 4, b"\0")
            blocks.append(node + crc32c(seed, node).to_bytes(4, "little"))
            above.append((part[0][0], _INDEX.pack(part[0][0], place & 0xFFFF_FFFF, place >> 32, 0)))
        level = above
        depth += 1
    root = _HEADER.pack(_MAGIC, len(level), IN_INODE, depth, 0) + b"".join(record for _, record in level)
    return root.ljust(60, b"\0"), blocks


def _parts(level: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    for start in range(0, len(level), _IN_BLOCK):
        yield level[start : start + _IN_BLOCK]
