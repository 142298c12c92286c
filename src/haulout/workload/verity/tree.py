"""The tree of hashes, made while the data go by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from haulout.workload.verity.superblock import BLOCK, MAX_SALT, Superblock, level_sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class Hashes:
    """The hashes of some data.

    Attributes:
        root: 32 bytes.
        superblock: one block; it lies at the hash offset, and the tree right behind it.
        data_blocks: how many blocks of 4096 bytes were hashed.
    """

    root: bytes
    superblock: bytes = field(repr=False)
    data_blocks: int


class Tree:
    """A tree in the making; in memory is one block of each level.

    Args:
        data_blocks: how many blocks will be fed; this says where each block of the tree lies, the top level first.
        salt: up to 256 bytes.
        put: takes each block of the tree when it is complete, with its offset in the tree, in bytes. These blocks
            reveal which blocks are in the data.
        uuid: of the superblock; random by default.
    """

    def __init__(
        self, data_blocks: int, salt: bytes, put: Callable[[int, bytes], None], uuid: UUID | None = None
    ) -> None:
        if len(salt) > MAX_SALT:
            raise ValueError(f"a salt of {len(salt)} bytes; at most {MAX_SALT} fit")
        if data_blocks < 1:
            raise ValueError("there are no data to hash")
        sizes = level_sizes(data_blocks)
        self._data_blocks = data_blocks
        self._salt = salt
        self._uuid = uuid or uuid4()
        self._salted = hashlib.sha256(salt)
        self._put = put
        # A level's next block goes where all levels above it end, and behind its blocks so far.
        above = [0, *accumulate(reversed(sizes))][-2::-1] if sizes else []
        self._next = [BLOCK * blocks for blocks in above]
        self._open = [bytearray() for _ in sizes]
        self._fed = 0
        self._root = b""

    def feed(self, chunk: Buffer) -> None:
        """Take the next whole blocks."""
        view = memoryview(chunk).cast("B")
        if len(view) % BLOCK:
            raise ValueError(f"{len(view)} bytes are not whole blocks of {BLOCK}")
        self._fed += len(view) // BLOCK
        if self._fed > self._data_blocks:
            raise ValueError(f"{self._fed} blocks come where {self._data_blocks} were announced")
        self._add(0, self._hash(view))

    def finish(self) -> Hashes:
        """Put what is left of each level, and return the hashes of all data."""
        if self._fed != self._data_blocks:
            raise ValueError(f"{self._fed} blocks came where {self._data_blocks} were announced")
        for level, left in enumerate(self._open):
            if left:
                self._close(level, bytes(left).ljust(BLOCK, b"\0"))
                left.clear()
        superblock = Superblock(self._uuid, self._data_blocks, self._salt).pack()
        return Hashes(self._root, superblock, self._data_blocks)

    def _add(self, level: int, hashes: bytes) -> None:
        if level == len(self._open):
            self._root = hashes
            return
        gathered = self._open[level]
        gathered += hashes
        whole = len(gathered) - len(gathered) % BLOCK
        for start in range(0, whole, BLOCK):
            self._close(level, bytes(gathered[start : start + BLOCK]))
        del gathered[:whole]

    def _close(self, level: int, block: bytes) -> None:
        self._put(self._next[level], block)
        self._next[level] += BLOCK
        self._add(level + 1, self._hash(memoryview(block)))

    def _hash(self, blocks: memoryview) -> bytes:
        hashes = []
        for start in range(0, len(blocks), BLOCK):
            one = self._salted.copy()
            one.update(blocks[start : start + BLOCK])
            hashes.append(one.digest())
        return b"".join(hashes)
