"""Extended attributes: small ones behind the inode, the rest in one block.

Source: the Linux kernel's documentation of ext4, "Extended Attributes"; acl(5) and posix_acl_xattr.h for ACLs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidRootfs
from haulout.workload.ext4.crc32c import crc32c
from haulout.workload.ext4.geometry import BLOCK

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAGIC: Final = 0xEA02_0000
_ENTRY: Final = struct.Struct("<BBHIII")
_HEADER: Final = struct.Struct("<IIIII12x")
IN_INODE: Final = 96
"""Bytes behind the fields of a 256-byte inode."""

_ACLS: Final = {b"system.posix_acl_access": 2, b"system.posix_acl_default": 3}
_PREFIXES: Final = ((b"user.", 1), (b"trusted.", 4), (b"security.", 6), (b"system.", 7))
_QUALIFIED: Final = frozenset({0x02, 0x08})
"""ACL tags that have an id: a user, a group."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute as ext4 has it; ``index`` stands for the prefix. Ordered as in a block."""

    index: int
    name: bytes
    value: bytes

    @property
    def room(self) -> int:
        """Bytes of its entry and its value."""
        return _pad(_ENTRY.size + len(self.name)) + _pad(len(self.value))


def _pad(size: int) -> int:
    return size + 3 & ~3


def split(xattrs: Mapping[bytes, bytes], path: bytes) -> tuple[list[Attribute], list[Attribute]]:
    """Return what goes behind the inode, and what into a block.

    Raises:
        InvalidRootfs: a name ext4 has no prefix for, an invalid ACL, or more than fits into a block.
    """
    if not xattrs:
        return [], []
    inside: list[Attribute] = []
    outside: list[Attribute] = []
    room = IN_INODE - 8  # magic, and the four zero bytes that end the entries
    for attribute in sorted(
        (_attribute(name, value, path) for name, value in xattrs.items()),
        key=lambda it: (it.index, len(it.name), it.name),
    ):
        if attribute.room <= room:
            inside.append(attribute)
            room -= attribute.room
        else:
            outside.append(attribute)
    if sum(attribute.room for attribute in outside) > BLOCK - _HEADER.size - 4:
        raise InvalidRootfs("the tree", path, "attributes", "its extended attributes do not fit into 4 KiB")
    return inside, outside


def _attribute(name: bytes, value: bytes, path: bytes) -> Attribute:
    if index := _ACLS.get(name):
        return Attribute(index, b"", _acl(value, path))
    for prefix, index in _PREFIXES:
        if name.startswith(prefix) and len(name) > len(prefix):
            return Attribute(index, name[len(prefix) :], value)
    shown = name.decode("utf-8", "backslashreplace")[:80]
    raise InvalidRootfs("the tree", path, "attributes", f"ext4 cannot hold the extended attribute {shown!r}")


def _acl(value: bytes, path: bytes) -> bytes:
    """Rewrite an ACL from its form in the system call (version 2) to the one on the disk (version 1)."""
    if len(value) < 4 or len(value) % 8 != 4 or value[:4] != b"\2\0\0\0":
        raise InvalidRootfs("the tree", path, "attributes", "an access control list that is not valid")
    stored = [b"\1\0\0\0"]
    for start in range(4, len(value), 8):
        tag = int.from_bytes(value[start : start + 2], "little")
        stored.append(value[start : start + (8 if tag in _QUALIFIED else 4)])
    return b"".join(stored)


def inside_inode(attributes: list[Attribute]) -> bytes:
    """Return the bytes that follow an inode's fields."""
    if not attributes:
        return bytes(IN_INODE)
    body, _ = _body(attributes, IN_INODE - 4, 0, hashed=False)
    return _MAGIC.to_bytes(4, "little") + body


def block(attributes: list[Attribute], number: int, seed: int) -> bytes:
    """Return the block ``number`` that holds the attributes; ``seed`` is the file system's."""
    body, hashes = _body(attributes, BLOCK - _HEADER.size, _HEADER.size, hashed=True)
    total = 0
    for value in hashes:
        total = (total << 16 ^ total >> 16 ^ value) & 0xFFFF_FFFF
    if 0 in hashes:
        total = 0
    plain = _HEADER.pack(_MAGIC, 1, 1, total, 0) + body
    checksum = crc32c(crc32c(seed, number.to_bytes(8, "little")), plain)
    return _HEADER.pack(_MAGIC, 1, 1, total, checksum) + body


def _body(attributes: list[Attribute], room: int, base: int, *, hashed: bool) -> tuple[bytes, list[int]]:
    """Lay entries from the front and values from the back; offsets of values count from ``base`` bytes before."""
    front = bytearray()
    back = bytearray()
    hashes = []
    for attribute in attributes:
        value = attribute.value + bytes(-len(attribute.value) % 4)
        back[:0] = value
        offset = room - len(back) + base if attribute.value else 0
        digest = _hash(attribute.name, value) if hashed else 0
        hashes.append(digest)
        front += _ENTRY.pack(len(attribute.name), attribute.index, offset, 0, len(attribute.value), digest)
        front += attribute.name + bytes(-len(attribute.name) % 4)
    return bytes(front) + bytes(room - len(front) - len(back)) + bytes(back), hashes


def _hash(name: bytes, value: bytes) -> int:
    digest = 0
    for byte in name:
        # The hash was born with signed characters.
        digest = (digest << 5 ^ digest >> 27 ^ (byte - 256 if byte > 127 else byte)) & 0xFFFF_FFFF
    for (word,) in struct.iter_unpack("<I", value):
        digest = (digest << 16 ^ digest >> 16 ^ word) & 0xFFFF_FFFF
    return digest
