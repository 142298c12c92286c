"""VHDX: Hyper-V's disk format.

Source: Microsoft's open specification [MS-VHDX]. A file is accepted if it stands alone and was closed cleanly: no
parent, an empty log, both region tables alike.
"""

from __future__ import annotations

import functools
import struct
import uuid
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from haulout.disk.format import Format
from haulout.disk.info import Damaged, Danger, Finding
from haulout.disk.types import DiskFormat

if TYPE_CHECKING:
    from haulout.disk.image import Image
    from haulout.disk.info import Detail

MAGIC = b"vhdxfile"
_KIB, _MIB = 1 << 10, 1 << 20
MAX_VIRTUAL_SIZE = 64 << 40
_MAX_ENTRIES = 2047

_BAT = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_VIRTUAL_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_SECTOR_SIZE = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PARENT_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
_PAGE_83 = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
_PHYSICAL_SECTOR_SIZE = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556")
_ITEMS = frozenset(
    {_FILE_PARAMETERS, _VIRTUAL_SIZE, _SECTOR_SIZE, _PAGE_83, _PHYSICAL_SECTOR_SIZE, _PARENT_LOCATOR},
)

_FULLY_PRESENT, _PARTIALLY_PRESENT = 6, 7


@dataclass(frozen=True, slots=True)
class _Region:
    offset: int
    length: int


def probe(image: Image) -> Finding | None:
    """Recognise a VHDX file and say what is wrong with it; None for anything else."""
    if image.read(0, len(MAGIC)) != MAGIC:
        return None
    dangers = _headers(image)
    regions = _regions(image)
    items = _metadata(image, regions[_METADATA])
    block, flags = struct.unpack("<II", _item(items, _FILE_PARAMETERS, 8))
    (size,) = struct.unpack("<Q", _item(items, _VIRTUAL_SIZE, 8))
    (sector,) = struct.unpack("<I", _item(items, _SECTOR_SIZE, 4))
    # Not used here, but without them no program opens the file.
    _item(items, _PAGE_83, 16)
    _item(items, _PHYSICAL_SECTOR_SIZE, 4)
    if sector not in {512, 4096}:
        raise Damaged(f"its sector size of {sector} bytes is impossible")
    if not _MIB <= block <= 256 * _MIB or block & (block - 1):
        raise Damaged(f"its block size of {block} bytes is impossible")
    if size > MAX_VIRTUAL_SIZE or size % sector:
        raise Damaged(f"its virtual size of {size} bytes is impossible")
    if flags & 2 or _PARENT_LOCATOR in items:
        dangers.append(Danger("backing-file", "it is a differencing disk: only the changes to another file"))
    else:
        dangers += _blocks(image, regions[_BAT], size=size, block=block, sector=sector)
    details: dict[str, Detail] = {
        "block size": block,
        "sector size": sector,
        "kind": "fixed" if flags & 1 else "dynamic",
    }
    return Finding("vhdx", DiskFormat.VHDX, size, details=details, dangers=tuple(dangers))


def _headers(image: Image) -> list[Danger]:
    """Judge the current one of the two headers; writers update them in turn, so one may be torn."""
    valid = []
    for offset in (64 * _KIB, 128 * _KIB):
        data = image.exact(offset, 4 * _KIB, "header")
        if data[:4] == b"head" and _crc_holds(data):
            valid.append(data)
    if not valid:
        raise Damaged("neither of its two headers has a right checksum")
    current = max(valid, key=lambda data: int.from_bytes(data[8:16], "little"))
    (version,) = struct.unpack_from("<H", current, 66)
    if version != 1:
        raise Damaged(f"it is VHDX of version {version}; known is 1", rule="unknown-version")
    # A log holds writes to any place of the file, tables included: what we read could be about to change.
    if any(current[48:64]):
        return [
            Danger("dirty", "it was not closed cleanly: its log holds writes not yet made", "start Hyper-V with it")
        ]
    return []


def _regions(image: Image) -> dict[uuid.UUID, _Region]:
    first = image.exact(192 * _KIB, 64 * _KIB, "region table")
    second = image.exact(256 * _KIB, 64 * _KIB, "second region table")
    if first[:4] != b"regi" or not _crc_holds(first):
        raise Damaged("its region table has a wrong checksum")
    if first != second:
        raise Damaged("its two region tables differ", rule="contradiction")
    (count,) = struct.unpack_from("<I", first, 8)
    if count > _MAX_ENTRIES:
        raise Damaged(f"its region table claims {count} entries")
    regions: dict[uuid.UUID, _Region] = {}
    for position in range(16, 16 + 32 * count, 32):
        raw, offset, length, required = struct.unpack_from("<16sQII", first, position)
        kind = uuid.UUID(bytes_le=raw)
        if kind in regions:
            raise Damaged("its region table names the same region twice", rule="contradiction")
        if kind in {_BAT, _METADATA}:
            regions[kind] = _region(image, offset, length)
        elif required & 1:
            raise Damaged(f"it needs an unknown region, {kind}", rule="unknown-feature")
    if regions.keys() != {_BAT, _METADATA}:
        raise Damaged("its region table lacks the block table or the metadata")
    before, after = sorted(regions.values(), key=lambda region: region.offset)
    if before.offset + before.length > after.offset:
        raise Damaged("its regions overlap", rule="contradiction")
    return regions


def _region(image: Image, offset: int, length: int) -> _Region:
    if offset < _MIB or offset % _MIB or not length or length % _MIB:
        raise Damaged("a region lies at an impossible place")
    if offset + length > image.size:
        raise Damaged("a region lies outside the file", rule="truncated", hint="is the file complete?")
    return _Region(offset, length)


def _metadata(image: Image, region: _Region) -> dict[uuid.UUID, bytes]:
    """Return the metadata items by their kind, each cut to the few bytes that this module reads."""
    table = image.exact(region.offset, 64 * _KIB, "metadata table")
    if table[:8] != b"metadata":
        raise Damaged("its metadata region does not begin with a metadata table")
    (count,) = struct.unpack_from("<H", table, 10)
    if count > _MAX_ENTRIES:
        raise Damaged(f"its metadata table claims {count} entries")
    items: dict[uuid.UUID, bytes] = {}
    for position in range(32, 32 + 32 * count, 32):
        raw, offset, length, flags = struct.unpack_from("<16sIII", table, position)
        kind = uuid.UUID(bytes_le=raw)
        user, required = bool(flags & 1), bool(flags & 4)
        if user and not required:
            continue
        known = not user and kind in _ITEMS
        if not known:
            if required:
                raise Damaged(f"it needs unknown metadata, {kind}", rule="unknown-feature")
            continue
        if kind in items:
            raise Damaged("its metadata names the same item twice", rule="contradiction")
        if offset < 64 * _KIB or offset + length > region.length:
            raise Damaged("a metadata item lies outside its region")
        items[kind] = image.exact(region.offset + offset, min(length, 16), "metadata item")
    return items


def _item(items: dict[uuid.UUID, bytes], kind: uuid.UUID, length: int) -> bytes:
    data = items.get(kind, b"")
    if len(data) < length:
        raise Damaged("its metadata is incomplete")
    return data[:length]


def _blocks(image: Image, bat: _Region, *, size: int, block: int, sector: int) -> list[Danger]:
    """Judge the block allocation table: every block in use lies in the file, and only once."""
    ratio = (sector << 23) // block
    count = -(-size // block)
    entries = count + max(count - 1, 0) // ratio
    if entries * 8 > bat.length:
        raise Damaged("its block table is too short for its virtual size")
    table = memoryview(image.exact(bat.offset, entries * 8, "block table")).cast("B")
    places: list[int] = []
    for index, (entry,) in enumerate(struct.iter_unpack("<Q", table)):
        # Behind every ``ratio`` blocks stands the entry of a sector bitmap, which only differencing disks use.
        if not entry & 7 or index % (ratio + 1) == ratio:
            continue
        state = entry & 7
        if state == _PARTIALLY_PRESENT:
            return [Danger("backing-file", "some of its blocks are only changes to another file")]
        if state == _FULLY_PRESENT:
            places.append(entry >> 20 << 20)
    places.sort()
    if places and places[-1] + block > image.size:
        return [Danger("truncated", "some of its data lies outside the file", "is the file complete?")]
    if places and (places[0] < _MIB or any(after - before < block for before, after in pairwise(places))):
        return [Danger("shared-clusters", "it maps the same data many times, as decompression bombs do")]
    return []


def _crc_holds(data: bytes) -> bool:
    stored = int.from_bytes(data[4:8], "little")
    return crc32c(data[:4] + bytes(4) + data[8:]) == stored


@functools.cache
def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # noqa: PLW2901
        table.append(value)
    return tuple(table)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli, reflected) of ``data``, as RFC 3720 has it."""
    table = _table()
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFF_FFFF


FORMAT: Final = Format(
    DiskFormat.VHDX,
    probe,
    "vhdx",
    # Every version of Hyper-V opens it, and it stays small.
    qemu_options="subformat=dynamic",
)
