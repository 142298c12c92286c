"""Bounds against hostile archives: what a root file system may cost, and which names are accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from haulout.errors import InvalidRootfs

Path = tuple[bytes, ...]
"""The names on the way from the root."""

NAME_MAX: Final = 255
"""Bytes of one name, as in every Linux file system."""

PATH_MAX: Final = 4095
"""Bytes of a whole path, and of a symlink's target: Linux's PATH_MAX without its NUL."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one image. The defaults are ten times what the largest images in use need."""

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


def split(raw: bytes, source: str) -> Path:
    """Cut an entry's name into its parts; ``.`` and doubled slashes are left out, so the root is ().

    Raises:
        InvalidRootfs: it is absolute, has a part ``..``, a NUL, or is longer than Linux allows.
    """
    if b"\0" in raw:
        raise InvalidRootfs(source, raw, "name", "a name with a NUL byte")
    if len(raw) > PATH_MAX:
        raise InvalidRootfs(source, raw, "name", f"a path of {len(raw)} bytes, more than {PATH_MAX}")
    if raw[:1] == b"/":
        raise InvalidRootfs(source, raw, "escape", "an absolute path")
    parts = tuple(part for part in raw.split(b"/") if part not in {b"", b"."})
    if b".." in parts:
        raise InvalidRootfs(source, raw, "escape", "a path with ..")
    if long := next((part for part in parts if len(part) > NAME_MAX), None):
        raise InvalidRootfs(source, raw, "name", f"a name of {len(long)} bytes, more than {NAME_MAX}")
    return parts
