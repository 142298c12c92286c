"""Columns of little-endian integers, as they are in blobs, and as arrays of the standard library. Pure."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_SWAP: Final = sys.byteorder == "big"


def u32_column(values: bytes | memoryview | Iterable[int]) -> array[int]:
    """Return 32-bit integers: those of little-endian bytes, or those given one by one."""
    if not isinstance(values, bytes | memoryview):
        return array("I", values)
    column = array("I")
    column.frombytes(values)
    if _SWAP:
        column.byteswap()
    return column


def column_bytes(column: array[int]) -> bytes:
    """Return the integers of a column as little-endian bytes."""
    if _SWAP:
        column = column[:]
        column.byteswap()
    return column.tobytes()
