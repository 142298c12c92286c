"""ISO 9660: images of optical discs, often also bootable from a stick by a partition table in their first sectors.

Source: ECMA-119, and the El Torito specification for the boot record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.disk.format import Format
from haulout.disk.info import Damaged, Danger, FileSystem, Finding
from haulout.disk.types import DiskFormat

if TYPE_CHECKING:
    from haulout.disk.image import Image
    from haulout.disk.info import Detail

_SECTOR = 2048
_FIRST = 16
_MAX_DESCRIPTORS = 32
_BOOT, _PRIMARY, _TERMINATOR = 0, 1, 255


def probe(image: Image) -> Finding | None:
    """Recognise an ISO 9660 image and say what is wrong with it; None for anything else."""
    if image.read(_FIRST * _SECTOR + 1, 5) != b"CD001":
        return None
    primary = b""
    bootable = False
    for number in range(_FIRST, _FIRST + _MAX_DESCRIPTORS):
        descriptor = image.exact(number * _SECTOR, _SECTOR, "volume descriptor")
        if descriptor[1:6] != b"CD001" or descriptor[0] == _TERMINATOR:
            break
        if descriptor[0] == _PRIMARY and not primary:
            primary = descriptor
        elif descriptor[0] == _BOOT and descriptor[7:30] == b"EL TORITO SPECIFICATION":
            bootable = True
    if not primary:
        raise Damaged("it has no primary volume descriptor")
    blocks, block = _both(primary[80:88]), _both(primary[128:132])
    if block not in {512, 1024, 2048}:
        raise Damaged(f"its block size of {block} bytes is impossible")
    dangers = []
    if blocks * block > image.size:
        dangers.append(
            Danger("truncated", f"it says it has {blocks * block} bytes, the file has {image.size}", "is it complete?")
        )
    label = "".join(c for c in primary[40:72].decode("latin-1").strip() if c.isprintable())
    details: dict[str, Detail] = {"bootable from optical disc": bootable, "volume size": blocks * block}
    return Finding(
        "iso9660",
        DiskFormat.ISO,
        image.size,
        file_system=FileSystem("iso9660", label, blocks * block),
        details=details,
        dangers=tuple(dangers),
    )


def _both(field: bytes) -> int:
    """Read a number that is recorded in both byte orders."""
    half = len(field) // 2
    little = int.from_bytes(field[:half], "little")
    if little != int.from_bytes(field[half:], "big"):
        raise Damaged("a number in its volume descriptor differs between the two byte orders", rule="contradiction")
    return little


FORMAT: Final = Format(
    DiskFormat.ISO,
    probe,
    "iso9660",
)
