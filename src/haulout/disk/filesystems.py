"""Recognise what fills a partition, or a whole unpartitioned disk, by its superblock.

Sources: the kernel's headers of each file system (``xfs_dsb``, ``btrfs_super_block``, ``squashfs_super_block``,
``erofs_super_block``, ``mdp_superblock_1``, …), its documentation of ext4, Microsoft's FAT and exFAT specifications,
the LUKS1 and LUKS2 on-disk formats. Only fields for people are read, and the size, which betrays a truncated file.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from haulout.disk.info import FileSystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.disk.image import Image

_SIMPLE = (
    (0, b"LUKS\xba\xbe", "LUKS"),
    (3, b"EXFAT   ", "exfat"),
    (3, b"NTFS    ", "ntfs"),
    (3, b"-FVE-FS-", "BitLocker"),
    (512, b"LABELONE", "LVM2"),
    (4086, b"SWAPSPACE2", "swap"),
    (1024, b"\x10\x20\xf5\xf2", "f2fs"),
    (0, b"verity\0\0", "dm-verity"),
    (32, b"NXSB", "apfs"),
    (1024, b"H+\0\4", "hfsplus"),
    (32769, b"CD001", "iso9660"),
    (0x1018, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", "bcachefs"),
    (4096, b"\xfc\x4e\x2b\xa9\1\0\0\0", "RAID"),
    (0x8000, b"JFS1", "jfs"),
    (512, b"\x57\x45\x56\x82", "BSD disk label"),
    # "VOL1" in EBCDIC: the volume label of an IBM Z disk (DASD) with blocks of 4 KiB.
    (8192, b"\xe5\xd6\xd3\xf1", "DASD"),
)


def recognise(image: Image, start: int, size: int) -> FileSystem | None:
    """Return the file system in ``size`` bytes at ``start``, or None if it is none that is known."""
    head = image.read(start, min(size, 4096))
    for probe in (_ext, _xfs, _squashfs, _erofs, _fat):
        if found := probe(head):
            return found
    if size > 0x10000 + 4096 and (found := _btrfs(image.read(start + 0x10000, 4096))):
        return found
    for offset, magic, name in _SIMPLE:
        if offset + len(magic) <= size:
            data = head[offset : offset + len(magic)] if offset < len(head) else image.read(start + offset, len(magic))
            if data == magic:
                return FileSystem(name)
    return None


def _text(raw: bytes) -> str:
    decoded = raw.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
    return "".join(c for c in decoded if c.isprintable())


def _reader(head: bytes, base: int) -> Callable[[str, int], int]:
    def field(code: str, offset: int) -> int:
        value: int = struct.unpack_from(code, head, base + offset)[0]
        return value

    return field


def _ext(head: bytes) -> FileSystem | None:
    if len(head) < 2048 or head[1080:1082] != b"\x53\xef":
        return None
    field = _reader(head, 1024)
    log_block = field("<I", 24)
    # Two bytes of magic are little; these fields make sure.
    if log_block > 6 or not field("<I", 0) or not field("<I", 40) or not field("<I", 32):
        return None
    compatible, incompatible, read_only = field("<I", 92), field("<I", 96), field("<I", 100)
    blocks = field("<I", 4) | (field("<I", 336) << 32 if incompatible & 0x80 else 0)
    older = "ext3" if compatible & 0x4 else "ext2"
    name = "ext4" if incompatible & 0x2C0 or read_only & ~0x7 else older
    return FileSystem(name, _text(head[1024 + 120 : 1024 + 136]), blocks << (10 + log_block))


def _xfs(head: bytes) -> FileSystem | None:
    if len(head) < 512 or head[:4] != b"XFSB":
        return None
    block, blocks = struct.unpack_from(">IQ", head, 4)
    if block not in {1 << bits for bits in range(9, 17)}:
        return None
    return FileSystem("xfs", _text(head[108:120]), block * blocks)


def _btrfs(head: bytes) -> FileSystem | None:
    if len(head) < 4096 or head[0x40:0x48] != b"_BHRfS_M":
        return None
    # One file system may span devices; what this one gives to it is in its own device item.
    (size,) = struct.unpack_from("<Q", head, 0xC9 + 8)
    return FileSystem("btrfs", _text(head[0x12B : 0x12B + 256]), size)


def _squashfs(head: bytes) -> FileSystem | None:
    if len(head) < 96 or head[:4] != b"hsqs" or struct.unpack_from("<HH", head, 28) != (4, 0):
        return None
    (size,) = struct.unpack_from("<Q", head, 40)
    return FileSystem("squashfs", "", size)


def _erofs(head: bytes) -> FileSystem | None:
    if len(head) < 1152 or head[1024:1028] != b"\xe2\xe1\xf5\xe0":
        return None
    field = _reader(head, 1024)
    bits = field("<B", 12)
    if not 9 <= bits <= 16:
        return None
    return FileSystem("erofs", _text(head[1024 + 64 : 1024 + 80]), field("<I", 36) << bits)


def _fat(head: bytes) -> FileSystem | None:
    if len(head) < 512 or head[510:512] != b"\x55\xaa":
        return None
    if head[82:90] == b"FAT32   ":
        label = head[71:82]
    elif head[54:62] in {b"FAT12   ", b"FAT16   ", b"FAT     "}:
        label = head[43:54]
    else:
        return None
    field = _reader(head, 0)
    sector = field("<H", 11)
    sectors = field("<H", 19) or field("<I", 32)
    name = _text(label)
    return FileSystem("vfat", "" if name == "NO NAME" else name, sector * sectors)
