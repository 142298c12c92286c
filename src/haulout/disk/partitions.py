"""Partition tables of raw disks: MBR (with its logical partitions) and GPT.

Source: UEFI specification 2.10, chapter 5. A table that points outside the disk, or whose checksum is wrong, is a
danger: firmware, kernel and tools would each make something else of it.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.disk.filesystems import recognise
from haulout.disk.info import Damaged, Danger, Partition

if TYPE_CHECKING:
    from haulout.disk.image import Image

_SECTOR = 512
_GPT_HEADER = struct.Struct("<8s4sIIIQQQQ16sQIII")
_GPT_MAGIC = b"EFI PART"
_MAX_ENTRIES_BYTES = 256 << 10
_MAX_LOGICAL = 64
_PROTECTIVE = 0xEE
_EXTENDED = frozenset({0x05, 0x0F, 0x85})

_MBR_KINDS = {
    0x01: "FAT12",
    0x04: "FAT16",
    0x06: "FAT16",
    0x07: "NTFS or exFAT",
    0x0B: "FAT32",
    0x0C: "FAT32",
    0x0E: "FAT16",
    0x17: "hidden (ISO hybrid)",
    0x82: "Linux swap",
    0x83: "Linux",
    0x8E: "Linux LVM",
    0xEE: "GPT protective",
    0xEF: "EFI system",
    0xFD: "Linux RAID",
}
_GPT_KINDS = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
    "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
    "b921b045-1df0-41c3-af44-4c6f280d3fae": "Linux root (ARM64)",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux extended boot",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Microsoft basic data",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b": "PowerPC PReP boot",
}


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """A partition table and what is wrong with it; ``kind`` is ``gpt`` or ``mbr``."""

    kind: str
    partitions: tuple[Partition, ...]
    dangers: tuple[Danger, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    start: int
    sectors: int


def read_table(image: Image) -> PartitionTable | None:
    """Return the partition table of a raw disk, or None if it has none.

    Raises:
        Damaged: there is one, too broken to be read.
    """
    entries = _mbr(image.read(0, _SECTOR))
    for sector in (512, 4096):
        if image.read(sector, 8) == _GPT_MAGIC:
            return _gpt(image, sector)
    if entries is None:
        return None
    if any(entry.kind == _PROTECTIVE for entry in entries):
        raise Damaged("it promises a GPT, but the GPT is missing", rule="partition-table")
    partitions = []
    for number, entry in enumerate(entries, 1):
        if entry.kind in _EXTENDED:
            partitions += _logical(image, entry)
        elif entry.kind:
            partitions.append(_mbr_partition(image, number, entry.kind, entry.start, entry.sectors))
    return PartitionTable("mbr", tuple(partitions), _outside(image, partitions))


def _mbr(sector: bytes) -> list[_Entry] | None:
    """Return the four entries, or None where these bytes are not a table: boot code of a file system ends alike."""
    if len(sector) < _SECTOR or sector[510:] != b"\x55\xaa":
        return None
    entries = []
    for offset in range(446, 510, 16):
        flag, kind = sector[offset], sector[offset + 4]
        start, count = struct.unpack_from("<II", sector, offset + 8)
        if flag & 0x7F or (kind and not count):
            return None
        entries.append(_Entry(kind, start, count))
    return entries if any(entry.kind for entry in entries) else None


def _mbr_partition(image: Image, number: int, kind: int, start: int, sectors: int) -> Partition:
    return Partition(
        number,
        start * _SECTOR,
        sectors * _SECTOR,
        _MBR_KINDS.get(kind, f"type {kind:#04x}"),
        file_system=recognise(image, start * _SECTOR, sectors * _SECTOR),
    )


def _logical(image: Image, extended: _Entry) -> list[Partition]:
    """Follow the chain of logical partitions, each of whose links names the next, relative to the first."""
    found: list[Partition] = []
    seen: set[int] = set()
    link = extended.start
    while len(found) < _MAX_LOGICAL:
        if link in seen:
            raise Damaged("its chain of logical partitions is circular", rule="partition-table")
        seen.add(link)
        entries = _mbr(image.read(link * _SECTOR, _SECTOR))
        if entries is None:
            break
        if entries[0].kind and entries[0].kind not in _EXTENDED:
            first = entries[0]
            found.append(_mbr_partition(image, 5 + len(found), first.kind, link + first.start, first.sectors))
        if entries[1].kind not in _EXTENDED:
            break
        link = extended.start + entries[1].start
    return found


def _gpt(image: Image, sector: int) -> PartitionTable:
    header = _gpt_header(image, 1, sector)
    if header is None:
        raise Damaged("its GPT header has a wrong checksum or place", rule="partition-table")
    partitions = _gpt_partitions(image, header, sector)
    dangers = list(_outside(image, partitions))
    notes = []
    backup = header[6]
    if (backup + 1) * sector > image.size:
        if not dangers:
            dangers.append(Danger("truncated", "the second copy of its GPT lies past its end", "is the file complete?"))
    elif _gpt_header(image, backup, sector) is None:
        notes.append("the second copy of the GPT is damaged")
    elif (backup + 1) * sector != image.size:
        notes.append("the disk was enlarged after it was partitioned")
    return PartitionTable("gpt", tuple(partitions), tuple(dangers), tuple(notes))


def _gpt_partitions(image: Image, header: tuple[int, ...], sector: int) -> list[Partition]:
    first, last = header[7:9]
    start, count, entry_size, table_crc = header[10:14]
    if entry_size < 128 or entry_size & (entry_size - 1) or count * entry_size > _MAX_ENTRIES_BYTES:
        raise Damaged(f"its GPT claims {count} entries of {entry_size} bytes", rule="partition-table")
    table = image.exact(start * sector, count * entry_size, "GPT")
    if zlib.crc32(table) != table_crc:
        raise Damaged("the entries of its GPT have a wrong checksum", rule="partition-table")
    partitions = []
    for number in range(1, count + 1):
        entry = table[(number - 1) * entry_size :][:128]
        if not any(entry[:16]):
            continue
        kind = str(uuid.UUID(bytes_le=entry[:16]))
        begin, end = struct.unpack_from("<QQ", entry, 32)
        if end < begin or begin < first or end > last:
            raise Damaged(f"partition {number} lies where its GPT allows none", rule="partition-table")
        name = entry[56:128].decode("utf-16-le", "replace").split("\0", 1)[0]
        size = (end - begin + 1) * sector
        partitions.append(
            Partition(
                number,
                begin * sector,
                size,
                _GPT_KINDS.get(kind, kind),
                "".join(c for c in name if c.isprintable()),
                recognise(image, begin * sector, size),
            )
        )
    return partitions


def _gpt_header(image: Image, block: int, sector: int) -> tuple[int, ...] | None:
    """Return the fields of the GPT header at a block; None unless checksum and own place are right."""
    data = image.read(block * sector, sector)
    if len(data) < sector or data[:8] != _GPT_MAGIC:
        return None
    fields: tuple[int, ...] = _GPT_HEADER.unpack_from(data)
    length, crc, here = fields[2], fields[3], fields[5]
    if not _GPT_HEADER.size <= length <= sector or here != block:
        return None
    return fields if zlib.crc32(data[:16] + bytes(4) + data[20:length]) == crc else None


def _outside(image: Image, partitions: list[Partition]) -> tuple[Danger, ...]:
    for partition in partitions:
        if partition.start + partition.size > image.size:
            reason = f"partition {partition.number} ends past its end"
            return (Danger("truncated", reason, "is the file complete?"),)
    return ()
