"""The superblock of dm-verity, and where each level of the tree lies behind it. Pure, but for reading."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

from haulout.errors import RefusedVerity

if TYPE_CHECKING:
    from typing import BinaryIO

BLOCK: Final = 4096
HASH: Final = 32
PER_BLOCK: Final = BLOCK // HASH
MAX_SALT: Final = 256
_SIGNATURE: Final = b"verity\0\0"
_LAYOUT: Final = struct.Struct("<8sII16s32sIIQH6x256s168x")


class Rule(StrEnum):
    """Rules by which a superblock is refused."""

    TRUNCATED = "truncated"
    SIGNATURE = "signature"
    VERSION = "version"
    ALGORITHM = "algorithm"
    BLOCK_SIZE = "block-size"
    SALT = "salt"
    DATA_BLOCKS = "data-blocks"


@dataclass(frozen=True, slots=True)
class Superblock:
    """What a tree was made with. Only salt and data have a part in the root hash: the rest proves nothing.

    Attributes:
        data_blocks: how many blocks of 4096 bytes are hashed.
        salt: up to 256 bytes, hashed before each block.
    """

    uuid: UUID
    data_blocks: int
    salt: bytes

    def pack(self) -> bytes:
        """Return its block: 512 bytes, and zeros."""
        salt = self.salt
        packed = _LAYOUT.pack(
            _SIGNATURE, 1, 1, self.uuid.bytes, b"sha256", BLOCK, BLOCK, self.data_blocks, len(salt), salt
        )
        return packed.ljust(BLOCK, b"\0")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the 512 bytes of one.

        Raises:
            RefusedVerity: it is not a superblock, or of another kind.
        """
        if len(data) < _LAYOUT.size:
            raise RefusedVerity(Rule.TRUNCATED, f"the superblock ends after {len(data)} of {_LAYOUT.size} bytes")
        signature, version, kind, uuid, algorithm, data_size, hash_size, blocks, salt_size, salt = _LAYOUT.unpack_from(
            data
        )
        if signature != _SIGNATURE:
            raise RefusedVerity(Rule.SIGNATURE, "there is no dm-verity superblock")
        if (version, kind) != (1, 1):
            raise RefusedVerity(Rule.VERSION, f"version {version}, type {kind}; only version 1, type 1 is accepted")
        if algorithm.rstrip(b"\0") != b"sha256":
            raise RefusedVerity(Rule.ALGORITHM, "its algorithm is not sha256")
        if (data_size, hash_size) != (BLOCK, BLOCK):
            raise RefusedVerity(Rule.BLOCK_SIZE, f"blocks of {data_size} and {hash_size} bytes, not {BLOCK}")
        if salt_size > MAX_SALT:
            raise RefusedVerity(Rule.SALT, f"a salt of {salt_size} bytes; at most {MAX_SALT} fit")
        if not blocks:
            raise RefusedVerity(Rule.DATA_BLOCKS, "it has no data blocks")
        return cls(UUID(bytes=uuid), blocks, salt[:salt_size])


def level_sizes(data_blocks: int) -> list[int]:
    """Return how many hash blocks each level has, from the one above the data to the single block at the top.

    One block of data has no level: its hash is the root.
    """
    sizes: list[int] = []
    blocks = data_blocks
    while blocks > 1:
        blocks = -(-blocks // PER_BLOCK)
        sizes.append(blocks)
    return sizes


def size_for(data_blocks: int) -> int:
    """Return the bytes that superblock and tree of so many blocks take."""
    return BLOCK * (1 + sum(level_sizes(data_blocks)))


def read_superblock(file: BinaryIO, hash_offset: int) -> Superblock:
    """Read the superblock at ``hash_offset``, in bytes, of a file whose data begin at its first byte.

    Raises:
        RefusedVerity: it is not a superblock, of another kind, or does not fit the file.
    """
    size = file.seek(0, io.SEEK_END)
    if hash_offset % BLOCK:
        raise RefusedVerity(Rule.BLOCK_SIZE, f"byte {hash_offset}, where they begin, is not at the start of a block")
    file.seek(hash_offset)
    found = Superblock.parse(file.read(_LAYOUT.size))
    if found.data_blocks * BLOCK > hash_offset:
        raise RefusedVerity(Rule.DATA_BLOCKS, f"{found.data_blocks} blocks of data do not fit before the hashes")
    if hash_offset + size_for(found.data_blocks) > size:
        raise RefusedVerity(Rule.TRUNCATED, f"the file ends after {size} bytes, within the hashes")
    return found
