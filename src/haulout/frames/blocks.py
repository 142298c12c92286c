"""Blocks: the 4 KiB unit in which disks are compared, and their hints.

A hint is the XXH3-64 of one block (seed 0). Hints find blocks that may be equal; only SHA-256 ever says that they are.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

BLOCK: Final = 4096
"""Bytes in a block: the page and file-system block size nearly everywhere, and what a reflink can share."""

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_ZERO: Final = bytes(BLOCK)
ZERO_HINT: Final = np.uint64(xxhash.xxh3_64_intdigest(_ZERO))
"""The hint of a block of zeros."""


def block_count(size: int) -> int:
    """Return how many blocks ``size`` bytes touch; the last may be short."""
    return -(-size // BLOCK)


def hash_blocks(data: memoryview) -> Hashes:
    """Return one hint per block of ``data``; a short last block is hashed as if padded with zeros."""
    digest = xxhash.xxh3_64_intdigest
    whole = len(data) // BLOCK
    hashes = [digest(data[start : start + BLOCK]) for start in range(0, whole * BLOCK, BLOCK)]
    if len(data) % BLOCK:
        hashes.append(digest(bytes(data[whole * BLOCK :]).ljust(BLOCK, b"\0")))
    return np.array(hashes, dtype="<u8")


def zero_blocks(data: memoryview, hashes: Hashes) -> Mask:
    """Return which blocks are all zero. The hash only nominates: a collision must not erase data."""
    mask: Mask = hashes == ZERO_HINT
    for index in np.flatnonzero(mask):
        block = data[int(index) * BLOCK : (int(index) + 1) * BLOCK]
        if block != _ZERO[: len(block)]:
            mask[index] = False
    return mask
