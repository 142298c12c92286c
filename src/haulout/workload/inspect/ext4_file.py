"""Reads one small file from the root directory of an ext4: enough to see what is in an unlocked disk.

Source: Linux, Documentation/filesystems/ext4. Everything that is read is bounded; nothing is trusted.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidWorkload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_SUPERBLOCK: Final = 1024
_MAGIC: Final = 0xEF53
_64BIT: Final = 0x80
_ROOT: Final = 2
_EXTENTS: Final = 0x80000
_EXTENT_MAGIC: Final = 0xF30A
_MAX_DEPTH: Final = 5
_MAX_DIRECTORY: Final = 64 << 20
_MAX_FILE: Final = 4 << 20
_MAX_NODES: Final = 4096
"""Blocks of extents read for one file: four times what 64 MiB in single blocks of 1 KiB take."""
_MAX_POSITION: Final = 1 << 62
"""In bytes: no file is so long, and no system call takes more."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What a superblock says, as far as reading a file needs it."""

    block: int
    blocks: int
    per_group: int
    inode_size: int
    descriptor: int
    first_block: int

    @property
    def size(self) -> int:
        """Bytes of the file system."""
        return self.block * self.blocks


def read_superblock(file: BinaryIO) -> FileSystem:
    """Read the superblock of the file system that begins where the file does.

    Raises:
        InvalidWorkload: there is none, or it contradicts itself.
    """
    file.seek(_SUPERBLOCK)
    data = file.read(1024)
    if len(data) < 1024 or int.from_bytes(data[56:58], "little") != _MAGIC:
        raise _bad("it holds no ext4")
    low, first, shift = struct.unpack_from("<I12xII", data, 4)[0], *struct.unpack_from("<II", data, 20)
    per_group = int.from_bytes(data[40:44], "little")
    inode_size = int.from_bytes(data[88:90], "little") or 128
    incompatible = int.from_bytes(data[96:100], "little")
    wide = bool(incompatible & _64BIT)
    blocks = low | (int.from_bytes(data[0x150:0x154], "little") << 32 if wide else 0)
    descriptor = int.from_bytes(data[0xFE:0x100], "little") if wide else 32
    if shift > 6 or not per_group or not 128 <= inode_size <= 65536 or not 32 <= descriptor <= 1024 or not blocks:
        raise _bad("its superblock contradicts itself")
    return FileSystem(1024 << shift, blocks, per_group, inode_size, descriptor, first)


def read_file(file: BinaryIO, system: FileSystem, name: str) -> bytes | None:
    """Return the content of a regular file in the root directory; None where there is none.

    Raises:
        InvalidWorkload: the file system contradicts itself, or the file is larger than 4 MiB.
    """
    wanted = name.encode()
    root = _inode(file, system, _ROOT)
    for number, found in _names(_content(file, system, root, _MAX_DIRECTORY), system.block):
        if found == wanted:
            inode = _inode(file, system, number)
            if int.from_bytes(inode[:2], "little") >> 12 != 0o10:
                raise _bad(f"/{name} is not a regular file")
            return _content(file, system, inode, _MAX_FILE)
    return None


def _inode(file: BinaryIO, system: FileSystem, number: int) -> bytes:
    group, index = divmod(number - 1, system.per_group)
    descriptor = _read(file, (system.first_block + 1) * system.block + group * system.descriptor, system.descriptor)
    if len(descriptor) < system.descriptor:
        raise _bad("it ends within its group descriptors")
    table = int.from_bytes(descriptor[8:12], "little")
    if system.descriptor >= 64:
        table |= int.from_bytes(descriptor[0x28:0x2C], "little") << 32
    inode = _read(file, table * system.block + index * system.inode_size, system.inode_size)
    if len(inode) < system.inode_size:
        raise _bad(f"inode {number} lies beyond its end")
    return inode


def _content(file: BinaryIO, system: FileSystem, inode: bytes, limit: int) -> bytes:
    size = int.from_bytes(inode[4:8], "little") | int.from_bytes(inode[108:112], "little") << 32
    if size > limit:
        raise _bad(f"a file has {size} bytes; at most {limit} are accepted")
    if not int.from_bytes(inode[32:36], "little") & _EXTENTS:
        raise _bad("a file without extents, which is not supported")
    out = bytearray(size)
    end = 0
    for logical, count, physical in _extents(file, system, inode[40:100], _MAX_DEPTH, iter(range(_MAX_NODES))):
        start = logical * system.block
        if start < end:
            raise _bad("its extents contradict themselves")
        end = start + count * system.block
        amount = min(count * system.block, size - start)
        if amount <= 0:
            continue
        data = _read(file, physical * system.block, amount)
        if len(data) != amount:
            raise _bad("a file lies beyond its end")
        out[start : start + amount] = data
    return bytes(out)


def _extents(
    file: BinaryIO, system: FileSystem, node: bytes, depth: int, budget: Iterator[int]
) -> Iterator[tuple[int, int, int]]:
    magic, entries, _, below = struct.unpack_from("<HHHH", node)
    if magic != _EXTENT_MAGIC or below > depth or 12 + entries * 12 > len(node):
        raise _bad("its extents contradict themselves")
    for number in range(entries):
        logical, length, high, low = struct.unpack_from("<IHHI", node, 12 + number * 12)
        if below == 0:
            # Longer ones are allocated, but not written yet: zeros.
            if length <= 32768:
                yield logical, length, high << 32 | low
            continue
        _, child_low, child_high = struct.unpack_from("<IIH", node, 12 + number * 12)
        if next(budget, None) is None:
            raise _bad("its extents take too many blocks")
        block = _read(file, (child_high << 32 | child_low) * system.block, system.block)
        if len(block) < system.block:
            raise _bad("its extents lie beyond its end")
        yield from _extents(file, system, block, below - 1, budget)


def _read(file: BinaryIO, position: int, amount: int) -> bytes:
    """Read bytes, fewer at the end."""
    if position > _MAX_POSITION:
        raise _bad("a part of it lies beyond its end")
    file.seek(position)
    return file.read(amount)


def _names(data: bytes, block: int) -> Iterator[tuple[int, bytes]]:
    stream = io.BytesIO(data)
    while len(chunk := stream.read(block)) == block:
        position = 0
        while position + 8 <= block:
            inode, length, size = struct.unpack_from("<IHB", chunk, position)
            if length < 8 or position + length > block:
                raise _bad("a directory contradicts itself")
            if inode:
                yield inode, chunk[position + 8 : position + 8 + size]
            position += length


def _bad(reason: str) -> InvalidWorkload:
    return InvalidWorkload("ext4", f"the unlocked disk cannot be read: {reason}")
