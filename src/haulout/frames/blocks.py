"""Blocks: the 4 KiB unit in which disks are compared, and their hints.

A hint is the XXH3-64 of one block (seed 0). Hints find blocks that may be equal; only SHA-256 proves that they are.
"""

from __future__ import annotations

from array import array
from typing import Final

import xxhash

from haulout.disk import BLOCK as BLOCK  # noqa: PLC0414 - the unit of this room as well

HINT_BYTES: Final = 8
"""Bytes of one block's hint in the hints blob."""

_ZERO: Final = bytes(BLOCK)
ZERO_HINT: Final[int] = xxhash.xxh3_64_intdigest(_ZERO)
"""The hint of a block of zeros."""


def block_count(size: int) -> int:
    """Return how many blocks ``size`` bytes touch; the last may be short."""
    return -(-size // BLOCK)


def hash_blocks(data: memoryview) -> array[int]:
    """Return one hint per block of ``data`` (type code Q); a short last block is hashed as if padded with zeros."""
    digest = xxhash.xxh3_64_intdigest
    whole = len(data) // BLOCK * BLOCK
    hints = array("Q", [digest(data[start : start + BLOCK]) for start in range(0, whole, BLOCK)])
    if whole < len(data):
        hints.append(digest(bytes(data[whole:]).ljust(BLOCK, b"\0")))
    return hints


def zero_blocks(data: memoryview, hints: array[int]) -> bytes:
    """Return for each block 1 where it is all zeros. The hint only nominates: a collision must not erase data."""
    if ZERO_HINT not in hints:
        return bytes(len(hints))
    mask = bytearray(map(ZERO_HINT.__eq__, hints))
    at = mask.find(1)
    while at >= 0:
        block = data[at * BLOCK : (at + 1) * BLOCK]
        if block != _ZERO[: len(block)]:
            mask[at] = 0
        at = mask.find(1, at + 1)
    return bytes(mask)
