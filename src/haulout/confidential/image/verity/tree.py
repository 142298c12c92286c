"""The tree of hashes, made while the data go by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from haulout.confidential.image.verity.superblock import BLOCK, MAX_SALT, Superblock

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class Hashes:
    """What is written behind the data, and the root that vouches for all of it.

    Attributes:
        root: 32 bytes.
        superblock: one block; it lies at the hash offset.
        tree: whole blocks, right behind it, the top of the tree first. Empty for a single block of data.
        data_blocks: how many blocks of 4096 bytes were hashed.
    """

    root: bytes
    superblock: bytes = field(repr=False)
    tree: bytes = field(repr=False)
    data_blocks: int


class Tree:
    """A tree in the making. In memory are the hashes alone: 8 MiB for each GiB of data.

    They are not put on a disk meanwhile: whoever has them can tell which blocks are in the data.

    Args:
        salt: up to 256 bytes.
        uuid: of the superblock; random by default.
    """

    def __init__(self, salt: bytes, uuid: UUID | None = None) -> None:
        if len(salt) > MAX_SALT:
            raise ValueError(f"a salt of {len(salt)} bytes; up to {MAX_SALT} fit")
        self._salt = salt
        self._uuid = uuid or uuid4()
        self._salted = hashlib.sha256(salt)
        self._leaves = bytearray()
        self._blocks = 0

    def feed(self, chunk: Buffer) -> None:
        """Take the next whole blocks."""
        view = memoryview(chunk).cast("B")
        if len(view) % BLOCK:
            raise ValueError(f"{len(view)} bytes are not whole blocks of {BLOCK}")
        self._leaves += self._hash(view)
        self._blocks += len(view) // BLOCK

    def finish(self) -> Hashes:
        """Return the whole tree; there has to be at least one block."""
        if not self._blocks:
            raise ValueError("there are no data to hash")
        levels: list[bytes] = []
        hashes = bytes(self._leaves)
        count = self._blocks
        while count > 1:
            level = hashes.ljust(-(-len(hashes) // BLOCK) * BLOCK, b"\0")
            levels.append(level)
            hashes = self._hash(memoryview(level))
            count = len(level) // BLOCK
        superblock = Superblock(self._uuid, self._blocks, self._salt).pack()
        return Hashes(hashes, superblock, b"".join(reversed(levels)), self._blocks)

    def _hash(self, blocks: memoryview) -> bytes:
        hashes = []
        for start in range(0, len(blocks), BLOCK):
            one = self._salted.copy()
            one.update(blocks[start : start + BLOCK])
            hashes.append(one.digest())
        return b"".join(hashes)
