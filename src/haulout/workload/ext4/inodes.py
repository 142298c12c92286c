"""Inodes of 256 bytes, and their checksums.

Source: the Linux kernel's documentation of ext4, "Index Nodes".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from haulout.rootfs import Device, Directory, Fifo, File, Node, Socket, Symlink
from haulout.workload.ext4.crc32c import crc32c, crc32c_rows
from haulout.workload.ext4.geometry import INODE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from haulout.workload.ext4.crc32c import Bytes

EXTENTS: Final = 0x80000
_LOW: Final = 0xFFFF_FFFF
_EXTRA: Final = 32
"""Bytes of fields behind the first 128."""

_FIRST: Final = struct.Struct("<HHIIIIIHHIII60s")
"""mode uid size atime ctime mtime dtime gid links blocks flags version block"""
_SECOND: Final = struct.Struct("<IIIIHHHHHHHHIIIIIII")
"""generation file_acl size_high obsolete | blocks_high file_acl_high uid_high gid_high checksum reserved |
extra_isize checksum_high ctime_extra mtime_extra atime_extra crtime crtime_extra version_high projid"""
_KINDS: Final[Mapping[type[Node], int]] = {
    File: 0o100000,
    Directory: 0o040000,
    Symlink: 0o120000,
    Fifo: 0o010000,
    Socket: 0o140000,
}
_EARLIEST: Final = -(1 << 31)
_LATEST: Final = (1 << 34) - (1 << 31) - 1


def time(nanoseconds: int) -> tuple[int, int]:
    """Return the two words of a time; one ext4 cannot hold (before 1901, after 2446) is moved to the nearest it can."""
    seconds, rest = divmod(nanoseconds, 10**9)
    if not _EARLIEST <= seconds <= _LATEST:
        seconds, rest = min(max(seconds, _EARLIEST), _LATEST), 0
    low = seconds & 0xFFFF_FFFF
    signed = low - (1 << 32) if low >= 1 << 31 else low
    return low, (seconds - signed >> 32 & 3) | rest << 2


def full_mode(node: Node) -> int:
    """Return permissions and kind."""
    if isinstance(node, Device):
        return node.mode | (0o060000 if node.is_block else 0o020000)
    return node.mode | _KINDS[type(node)]


def device_block(node: Device) -> bytes:
    """Return a device's number, in the place of block numbers: the old form where it fits, as the kernel writes it."""
    if node.major < 256 and node.minor < 256:
        return struct.pack("<I", node.major << 8 | node.minor).ljust(60, b"\0")
    number = node.minor & 0xFF | node.major << 8 | (node.minor & ~0xFF) << 12
    return struct.pack("<II", 0, number).ljust(60, b"\0")


def pack(  # noqa: PLR0913 - an inode has that many fields
    node: Node, *, links: int, size: int, sectors: int, flags: int, block: bytes, attributes: int, tail: bytes, now: int
) -> bytes:
    """Return an inode without its checksum.

    Args:
        node: owner, mode and time.
        links: names.
        size: bytes.
        sectors: of 512 bytes, of content and metadata.
        flags: such as ``EXTENTS``.
        block: 60 bytes: an extent tree's root, a device, a short symlink.
        attributes: the block of extended attributes, or 0.
        tail: 96 bytes of extended attributes.
        now: nanoseconds; when the inode was made.
    """
    at, extra = time(node.mtime)
    born, born_extra = time(now)
    mode, uid, gid = full_mode(node), node.uid & 0xFFFF, node.gid & 0xFFFF
    first = _FIRST.pack(mode, uid, size & _LOW, at, at, at, 0, gid, links, sectors & _LOW, flags, 0, block)
    # The upper halves of what does not fit into the first 128 bytes.
    high = (sectors >> 32, attributes >> 32, node.uid >> 16, node.gid >> 16)
    times = (extra, extra, extra, born, born_extra)
    second = _SECOND.pack(0, attributes & _LOW, size >> 32, 0, *high, 0, 0, _EXTRA, 0, *times, 0, 0)
    return first + second + tail


def seed_of(seed: int, number: int) -> int:
    """Return what checksums of an inode's blocks begin with: the number, and the generation, which is 0 here."""
    return crc32c(seed, number.to_bytes(8, "little"))


def seal(rows: Bytes, first: int, seed: int) -> None:
    """Put the checksums into inodes numbered from ``first`` on; those that are all zeros stay so."""
    used = np.flatnonzero(rows[:, :2].any(axis=1))
    if not len(used):
        return
    numbers = (used + first).astype("<u8").view(np.uint8).reshape(-1, 8)
    taken = rows[used]
    sums = crc32c_rows(crc32c_rows(seed, numbers), taken)
    taken[:, 124] = sums & 0xFF
    taken[:, 125] = sums >> 8 & 0xFF
    taken[:, 130] = sums >> 16 & 0xFF
    taken[:, 131] = sums >> 24
    rows[used] = taken


assert _FIRST.size + _SECOND.size == INODE - 96
