"""What a root file system may cost: bounds against archives made to hurt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NAME_MAX: Final = 255
"""Bytes of one name, as in every Linux file system."""

PATH_MAX: Final = 4095
"""Bytes of a whole path, and of a symlink's target: Linux's PATH_MAX without its NUL."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one image. The defaults leave an order of magnitude to the largest images in use."""

    entries: int = 4_000_000
    """Headers in all layers, or names in a folder."""
    layers: int = 1024
    plain_bytes: int = 256 << 30
    """Bytes of all layers, decompressed."""
    header_bytes: int = 1 << 20
    """Bytes of the extended headers of one entry (PAX records, long names, sparse maps)."""
    ratio: int = 250
    """Decompressed bytes per compressed byte of a layer, once it has come to ``ratio_from``."""
    ratio_from: int = 1 << 30
