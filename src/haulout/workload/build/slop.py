"""How much larger than its content a root is made: mkcw's ``--slop``. Pure."""

from __future__ import annotations

import re
from typing import Final

from haulout.errors import UsageError

BLOCK: Final = 4096
SMALLEST: Final = 10 << 20
"""Bytes of the smallest file system made, as by mkcw."""
DEFAULT: Final = "25%"
MAX_SIZE: Final = 1 << 44
"""16 TiB: what ext4 holds in blocks of 4096 bytes with numbers of 32 bits."""

_PERCENT = re.compile(r"(\d{1,9})%")
_AMOUNT = re.compile(r"(\d{1,15})\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_UNITS: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def size_with(content: int, slop: str = DEFAULT) -> int:
    """Return the size of a file system in bytes.

    Args:
        content: bytes that its content needs.
        slop: terms with ``+`` between them, applied one after the other: ``N%`` of what there is by then, or an amount
            such as ``100MB`` (units are binary, as in mkcw).

    Raises:
        UsageError: a term is neither, or the result is larger than ext4 can be.
    """
    size = content
    for term in filter(None, (part.strip() for part in slop.split("+"))):
        if found := _PERCENT.fullmatch(term):
            size = size * (100 + int(found[1])) // 100
        elif found := _AMOUNT.fullmatch(term):
            size += int(found[1]) << _UNITS[found[2].lower()]
        else:
            raise UsageError(f"{term[:40]!r} is no room to leave", hint="for example: --slop 25% or --slop 10%+100MB")
    size = -(-max(size, SMALLEST) // BLOCK) * BLOCK
    if size > MAX_SIZE:
        raise UsageError(f"a file system of {size} bytes is larger than it can be", hint="take a smaller --slop")
    return size
