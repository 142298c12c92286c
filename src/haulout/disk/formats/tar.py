"""tar: the root file systems of WSL. Recognised, never unpacked: no path inside is looked at.

Source: POSIX.1-2017, ``pax``, "ustar Interchange Format"; GNU tar's manual for base-256 numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from haulout.disk.format import Format
from haulout.disk.info import Damaged, Danger, Finding
from haulout.disk.types import DISK_EXTENSIONS, DiskFormat

if TYPE_CHECKING:
    from haulout.disk.image import Image

BLOCK = 512
_FIRST_MEMBERS = 16
_DISK = re.compile(rf"\.({'|'.join(sorted(DISK_EXTENSIONS))})(\.(gz|xz|zst|bz2))?$", re.IGNORECASE)
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
    if archived := _disk_inside(image):
        first, member = archived
        what = "an OVA, an archive of a machine's description and its disks" if first else "an archive of a disk"
        taken = member or "NAME.vmdk"
        dangers.append(
            Danger(
                "archive",
                f"it is {what}",
                f"haulout push takes the disk out of it; by hand: tar -xf {image.path} {taken}",
            )
        )
        return Finding("ova" if first else "archive", DiskFormat.TAR, image.size, dangers=tuple(dangers))
    kind = {b"ustar\x0000": "pax or ustar", b"ustar  \x00": "gnu"}.get(header[257:265], "v7")
    return Finding("tar", DiskFormat.TAR, image.size, details={"kind": kind}, dangers=tuple(dangers))


def _disk_inside(image: Image) -> tuple[bool, str] | None:
    """Return whether an archive is an OVA, and the disk in it; None for an archive of anything else.

    An OVA begins with its description (OVF specification 2.1.1, section 5.3). Only its first members are looked at, and
    only for a hint: who takes the disk out reads the archive anew.
    """
    position, is_ova = 0, False
    for number in range(_FIRST_MEMBERS):
        header = image.read(position, BLOCK)
        size = _number(header[124:136]) if len(header) == BLOCK and header[0] else None
        if size is None:
            break
        name = header[:100].partition(b"\0")[0].decode("utf-8", "replace").removeprefix("./")
        if not name.isprintable():
            break
        is_ova = is_ova or (number == 0 and name.lower().endswith(".ovf"))
        if header[156:157] in b"\x000" and "/" not in name and _DISK.search(name):
            return is_ova, name
        if number == 0 and not is_ova and header[156:157] not in b"xgLK":
            break
        position += BLOCK + -(-size // BLOCK) * BLOCK
    return (True, "") if is_ova else None


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
