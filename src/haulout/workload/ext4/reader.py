"""Reads an ext4: inodes, directories, where the parts of a file are. Nothing is written, and no journal is replayed.

Source: Linux, Documentation/filesystems/ext4. Everything that is read is bounded; nothing is trusted.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidWorkload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

ROOT: Final = 2
"""The root directory's inode."""
_SUPERBLOCK: Final = 1024
_MAGIC: Final = 0xEF53
_64BIT: Final = 0x80
_EXTENTS: Final = 0x80000
_EXTENT_MAGIC: Final = 0xF30A
_MAX_DEPTH: Final = 5
_MAX_DIRECTORY: Final = 64 << 20
_MAX_FILE: Final = 4 << 20
_MAX_NODES: Final = 4096
"""Blocks of extents read for one file: four times what 64 MiB in single blocks of 1 KiB take."""
_MAX_POSITION: Final = 1 << 62
"""In bytes: no file is so long, and no system call takes more."""
_MAX_TARGET: Final = 4095
_INLINE: Final = 60
"""Bytes from which on the target of a symbolic link has a block of its own."""
_MAX_FILE_NODES: Final = 1 << 20
_READABLE: Final = 0x2 | 0x40 | 0x80 | 0x200 | 0x400 | 0x2000 | 0x4000
"""Incompatible features that reading needs not know: file types, extents, 64 bits, flexible groups, large attributes,
seeds of checksums, large directories. Not among them: journals to replay, content in inodes, encryption."""
_RECOVER: Final = 0x4


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What a superblock says, as far as reading a file needs it."""

    block: int
    blocks: int
    per_group: int
    inode_size: int
    descriptor: int
    inodes: int
    incompatible: int

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
    low, shift = struct.unpack_from("<I16xI", data, 4)
    per_group = int.from_bytes(data[40:44], "little")
    inode_size = int.from_bytes(data[88:90], "little") or 128
    incompatible = int.from_bytes(data[96:100], "little")
    wide = bool(incompatible & _64BIT)
    blocks = low | (int.from_bytes(data[0x150:0x154], "little") << 32 if wide else 0)
    descriptor = int.from_bytes(data[0xFE:0x100], "little") if wide else 32
    if shift > 6 or not per_group or not 128 <= inode_size <= 65536 or not 32 <= descriptor <= 1024 or not blocks:
        raise _bad("its superblock contradicts itself")
    inodes = int.from_bytes(data[:4], "little")
    return FileSystem(1024 << shift, blocks, per_group, inode_size, descriptor, inodes, incompatible)


def require_readable(system: FileSystem) -> None:
    """Require that all of a file system can be read here.

    Raises:
        InvalidWorkload: it was not unmounted, or uses features that are not known.
    """
    if system.incompatible & _RECOVER:
        raise _bad("it was not unmounted, so that its journal would have to be replayed")
    if other := system.incompatible & ~_READABLE:
        raise _bad(f"it uses features that are not supported ({other:#x})")


@dataclass(frozen=True, slots=True)
class Inode:
    """One inode.

    Attributes:
        mode: with the kind of file, as of ``stat``.
        mtime: nanoseconds since 1970.
    """

    number: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    raw: bytes = field(repr=False)


def inode(file: BinaryIO, system: FileSystem, number: int) -> Inode:
    """Read an inode.

    Raises:
        InvalidWorkload: there is none of that number.
    """
    if not 0 < number <= system.inodes:
        raise _bad(f"there is no inode {number}")
    raw = _inode(file, system, number)
    mode, uid, low, _, _, seconds, _, gid = struct.unpack_from("<HHIIiiiH", raw)
    uid_high, gid_high = struct.unpack_from("<HH", raw, 120)
    extra = 0
    if len(raw) >= 140 and int.from_bytes(raw[128:130], "little") >= 12:
        extra = int.from_bytes(raw[136:140], "little")
    mtime = (seconds + ((extra & 3) << 32)) * 1_000_000_000 + min(extra >> 2, 999_999_999)
    high = int.from_bytes(raw[108:112], "little")
    return Inode(number, mode, uid | uid_high << 16, gid | gid_high << 16, low | high << 32, mtime, raw)


def names(file: BinaryIO, system: FileSystem, directory: Inode) -> Iterator[tuple[int, bytes]]:
    """Yield inode and name of what is in a directory, without itself and its parent.

    Raises:
        InvalidWorkload: a name is none that Linux would accept, or the directory contradicts itself.
    """
    for number, name in _names(_content(file, system, directory.raw, _MAX_DIRECTORY), system.block):
        if name in {b".", b".."}:
            continue
        if not name or b"/" in name or b"\0" in name:
            raise _bad("a directory has a name that no file can have")
        yield number, name


def target(file: BinaryIO, system: FileSystem, link: Inode) -> bytes:
    """Return what a symbolic link says."""
    if link.size < _INLINE and not int.from_bytes(link.raw[32:36], "little") & _EXTENTS:
        return link.raw[40 : 40 + link.size]
    return _content(file, system, link.raw, _MAX_TARGET)


def parts(file: BinaryIO, system: FileSystem, of: Inode) -> Iterator[tuple[int, int, int]]:
    """Yield the parts of a file that are stored: offset in it, position in the file system, length; all in bytes.

    Raises:
        InvalidWorkload: they contradict each other.
    """
    yield from _runs(file, system, of.raw, of.size, _MAX_FILE_NODES)


def read_file(file: BinaryIO, system: FileSystem, name: str) -> bytes | None:
    """Return the content of a regular file in the root directory; None where there is none.

    Raises:
        InvalidWorkload: the file system contradicts itself, or the file is larger than 4 MiB.
    """
    wanted = name.encode()
    root = _inode(file, system, ROOT)
    for number, found in _names(_content(file, system, root, _MAX_DIRECTORY), system.block):
        if found == wanted:
            inode = _inode(file, system, number)
            if int.from_bytes(inode[:2], "little") >> 12 != 0o10:
                raise _bad(f"/{name} is not a regular file")
            return _content(file, system, inode, _MAX_FILE)
    return None


def _inode(file: BinaryIO, system: FileSystem, number: int) -> bytes:
    group, index = divmod(number - 1, system.per_group)
    # Descriptors follow the block that the superblock is in.
    first = (_SUPERBLOCK // system.block + 1) * system.block
    descriptor = _read(file, first + group * system.descriptor, system.descriptor)
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
    out = bytearray(size)
    for start, position, amount in _runs(file, system, inode, size, _MAX_NODES):
        data = _read(file, position, amount)
        if len(data) != amount:
            raise _bad("a file lies beyond its end")
        out[start : start + amount] = data
    return bytes(out)


def _runs(file: BinaryIO, system: FileSystem, inode: bytes, size: int, nodes: int) -> Iterator[tuple[int, int, int]]:
    if not int.from_bytes(inode[32:36], "little") & _EXTENTS:
        raise _bad("a file without extents, which is not supported")
    end = 0
    for logical, count, physical in _extents(file, system, inode[40:100], _MAX_DEPTH, iter(range(nodes))):
        start = logical * system.block
        if start < end:
            raise _bad("its extents contradict themselves")
        end = start + count * system.block
        amount = min(count * system.block, size - start)
        if amount > 0:
            yield start, physical * system.block, amount


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
