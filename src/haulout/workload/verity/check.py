"""Checking data against a root hash, as the kernel does, but all of them and in order."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from haulout.errors import RefusedVerity, VerityMismatch
from haulout.workload.verity.superblock import BLOCK, HASH, PER_BLOCK, level_sizes, read_superblock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO


def check(file: BinaryIO, hash_offset: int, root: bytes) -> None:
    """Read all data and all hashes once; a block of each level is in memory.

    Args:
        file: the data, from its first byte, and behind them the hashes.
        hash_offset: where the superblock is, in bytes.
        root: 32 bytes, from somewhere that is trusted.

    Raises:
        RefusedVerity: the superblock is missing, of another kind, or does not fit the file.
        VerityMismatch: names the first block at fault.
    """
    superblock = read_superblock(file, hash_offset)
    if len(root) != HASH:
        raise RefusedVerity("root", f"a root hash must have {HASH} bytes (got {len(root)})")
    walk = _Walk(file, hash_offset, superblock.data_blocks, superblock.salt)
    number = 0
    for hashes in walk.leaves(root):
        file.seek(number * BLOCK)
        data = file.read(len(hashes) // HASH * BLOCK)
        # A short one differs in its last block.
        for start in range(0, len(hashes), HASH):
            block = data[start // HASH * BLOCK :][:BLOCK]
            if not hmac.compare_digest(walk.hash(block), hashes[start : start + HASH]):
                raise VerityMismatch(None, number)
            number += 1


class _Walk:
    """Goes through the tree from the root down and from left to right, and trusts no block before its hash."""

    def __init__(self, file: BinaryIO, hash_offset: int, data_blocks: int, salt: bytes) -> None:
        self._file = file
        self._counts = [data_blocks, *level_sizes(data_blocks)]
        self._salted = hashlib.sha256(salt)
        # Levels lie from the top to the one above the data.
        start = hash_offset + BLOCK
        self._starts = [0] * len(self._counts)
        for level in range(len(self._counts) - 1, 0, -1):
            self._starts[level] = start
            start += self._counts[level] * BLOCK

    def hash(self, block: bytes) -> bytes:
        one = self._salted.copy()
        one.update(block)
        return one.digest()

    def leaves(self, root: bytes) -> Iterator[bytes]:
        """Give the hashes of the data in order, a block of them at a time."""
        return self._below(len(self._counts) - 1, 0, root)

    def _below(self, level: int, first: int, hashes: bytes) -> Iterator[bytes]:
        """Give what lies below some blocks of a level, ``first`` and those after it, that have these hashes."""
        if level == 0:
            yield hashes
            return
        for place in range(len(hashes) // HASH):
            number = first + place
            self._file.seek(self._starts[level] + number * BLOCK)
            block = self._file.read(BLOCK)
            if not hmac.compare_digest(self.hash(block), hashes[place * HASH : (place + 1) * HASH]):
                raise VerityMismatch(level - 1, number)
            below = min(PER_BLOCK, self._counts[level - 1] - number * PER_BLOCK)
            yield from self._below(level - 1, number * PER_BLOCK, block[: below * HASH])
