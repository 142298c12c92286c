"""Blocks of directories: entries packed one after another, and a checksum at the end of each block.

Source: the Linux kernel's documentation of ext4, "Directory Entries".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from haulout.rootfs import Device, Directory, Fifo, File, Socket, Symlink
from haulout.workload.ext4.crc32c import crc32c
from haulout.workload.ext4.geometry import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from haulout.rootfs import Node

_ENTRY: Final = struct.Struct("<IHBB")
_TAIL: Final = struct.Struct("<IHBBI")
ROOM: Final = BLOCK - _TAIL.size
"""Bytes of a block that entries may take."""

DIRECTORY: Final = 2
_TYPES: Final[Mapping[type[Node], int]] = {File: 1, Directory: DIRECTORY, Fifo: 5, Socket: 6, Symlink: 7}

Named = tuple[bytes, int, int]
"""(name, inode, kind)"""


def kind_of(node: Node) -> int:
    """Return the kind of file an entry states."""
    if isinstance(node, Device):
        return 4 if node.is_block else 3
    return _TYPES[type(node)]


def length(name: bytes) -> int:
    """Return the bytes the entry of a name takes."""
    return 8 + len(name) + 3 & ~3


def count_blocks(names: Iterable[bytes]) -> int:
    """Return how many blocks ``pack`` fills with ``.``, ``..`` and these names."""
    blocks = 1
    used = length(b".") + length(b"..")
    for name in names:
        size = 8 + len(name) + 3 & ~3
        if used + size > ROOM:
            blocks += 1
            used = 0
        used += size
    return blocks


def pack(entries: Iterable[Named], seed: int) -> Iterator[bytes]:
    """Yield blocks of entries, in their order; ``seed`` is that of the directory's inode."""
    pending: list[Named] = []
    used = 0
    for entry in entries:
        size = length(entry[0])
        if used + size > ROOM:
            yield block(pending, seed)
            pending, used = [], 0
        pending.append(entry)
        used += size
    yield block(pending, seed)


def block(entries: list[Named], seed: int) -> bytes:
    """Return one block; the last entry reaches to its end. Without entries it is an empty one."""
    parts = []
    left = ROOM
    for name, inode, kind in entries[:-1]:
        size = length(name)
        left -= size
        parts.append(_ENTRY.pack(inode, size, len(name), kind) + name + bytes(size - 8 - len(name)))
    name, inode, kind = entries[-1] if entries else (b"", 0, 0)
    parts.append(_ENTRY.pack(inode, left, len(name), kind) + name + bytes(left - 8 - len(name)))
    plain = b"".join(parts)
    return plain + _TAIL.pack(0, _TAIL.size, 0, 0xDE, crc32c(seed, plain))
