"""tar: the root file systems of WSL. Recognised, never unpacked: no path inside is looked at.

Source: POSIX.1-2017, ``pax``, "ustar Interchange Format"; GNU tar's manual for base-256 numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from haulout.disk.format import Format
from haulout.disk.info import Damaged, Danger, Finding
from haulout.disk.types import DiskFormat

if TYPE_CHECKING:
    from haulout.disk.image import Image

BLOCK = 512
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")


def probe(image: Image) -> Finding | None:
    """Recognise a tar archive by its first header and say what is wrong with it; None for anything else."""
    header = image.read(0, BLOCK)
    if len(header) < BLOCK or not header[0]:
        return None
    stored = _octal(header[148:156])
    plain = header[:148] + b" " * 8 + header[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in plain)
    if stored is None or stored not in {sum(plain), signed}:
        if header[257:262] == b"ustar":
            raise Damaged("it looks like a tar archive, but its first header has a wrong checksum")
        return None
    size = _number(header[124:136])
    if size is None:
        raise Damaged("the first size in its tar headers is not a number")
    dangers = []
    # Only regular files (and their extended headers) are followed by as much data as their size says.
    if header[156:157] in b"\x0007xgLK" and BLOCK + size > image.size:
        dangers.append(Danger("truncated", "its first member reaches past its end", "is the file complete?"))
    kind = {b"ustar\x0000": "pax or ustar", b"ustar  \x00": "gnu"}.get(header[257:265], "v7")
    return Finding("tar", DiskFormat.TAR, image.size, details={"kind": kind}, dangers=tuple(dangers))


def _octal(field: bytes) -> int | None:
    match = _OCTAL.fullmatch(field)
    return int(match[1], 8) if match else None


def _number(field: bytes) -> int | None:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    return _octal(field)


FORMAT: Final = Format(
    DiskFormat.TAR,
    probe,
    "tar",
)
