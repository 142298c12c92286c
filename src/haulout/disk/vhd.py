"""VHD: the disks of Virtual PC, Azure and old Hyper-V, fixed and dynamic. Read, never written.

Source: Microsoft's "Virtual Hard Disk Image Format Specification" 1.0. The sector bitmaps of dynamic disks are passed
over, as QEMU does: they mean something in differencing disks only, which are refused.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from haulout.disk.image import opened
from haulout.disk.info import Damaged
from haulout.disk.sparse import Extent
from haulout.disk.writing import write_sparse
from haulout.errors import UnsafeDiskError
from haulout.local import storage_errors

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.disk.image import Image
    from haulout.progress import Progress

MAGIC: Final = b"conectix"
_SECTOR: Final = 512
_FOOTER = struct.Struct(">8sIIQI4sI4sQQ4sII16sB")
_HEADER = struct.Struct(">8sQQIIII")
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_NOWHERE: Final = 0xFFFF_FFFF
_LARGEST: Final = 1 << 42
"""Bytes: above the 2040 GiB that Hyper-V allows."""
_STEP: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Vhd:
    """A disk: its size in bytes, and its data: (offset in the disk, piece of the file), in order of the disk."""

    kind: str
    size: int
    pieces: tuple[tuple[int, Extent], ...]


def is_vhd(image: Image) -> bool:
    """Whether a file is a VHD: a fixed one is a raw disk until its very last sector, which old ones cut by a byte."""
    ends = (image.read(image.size - distance, len(MAGIC)) for distance in (512, 511) if image.size >= distance)
    return image.read(0, len(MAGIC)) == MAGIC or MAGIC in ends


def parse(image: Image) -> Vhd:
    """Read the tables of a VHD.

    Raises:
        Damaged: it breaks the rules, names a parent, or maps data that is not there, or more than once.
    """
    footer, length = _footer(image)
    _, _, version, table, *_, size, _, kind, _, _, _ = _FOOTER.unpack_from(footer)
    if version >> 16 != 1:
        raise Damaged(f"it is VHD of version {version >> 16}; known is 1", rule="unknown-version")
    if kind == _DIFFERENCING:
        raise Damaged("it is a differencing disk, which holds only changes to another file", rule="backing-file")
    if not 0 < size <= _LARGEST or size % _SECTOR:
        raise Damaged(f"its size of {size} bytes is impossible")
    if kind == _FIXED:
        if size + length > image.size:
            raise Damaged("its data is not all there", rule="truncated", hint="is the file complete?")
        return Vhd("fixed", size, ((0, Extent(0, size)),))
    if kind != _DYNAMIC:
        raise Damaged(f"it is of the unknown kind {kind}", rule="unknown-feature")
    if image.read(0, _SECTOR) != footer:
        raise Damaged("its footer and the copy at its beginning differ", rule="truncated", hint="is the file complete?")
    return Vhd("dynamic", size, _blocks(image, size, table))


def _footer(image: Image) -> tuple[bytes, int]:
    """Return the footer, and its bytes in the file."""
    footer, length = image.read(image.size - _SECTOR, _SECTOR), _SECTOR
    if not footer.startswith(MAGIC):
        # Before Virtual PC 2004 it was a byte shorter.
        footer, length = image.read(image.size - _SECTOR + 1, _SECTOR - 1) + b"\0", _SECTOR - 1
    if not footer.startswith(MAGIC) or len(footer) < _SECTOR:
        raise Damaged("its footer is not in its last sector", rule="truncated", hint="is the file complete?")
    if not _sum_holds(footer, 64):
        raise Damaged("its footer has a wrong checksum")
    return footer, length


def _blocks(image: Image, size: int, offset: int) -> tuple[tuple[int, Extent], ...]:
    header = image.exact(offset, 1024, "header")
    if not header.startswith(b"cxsparse") or not _sum_holds(header, 36):
        raise Damaged("its header of a dynamic disk is missing, or has a wrong checksum")
    _, _, table, _, entries, block, _ = _HEADER.unpack_from(header)
    if block not in {1 << bits for bits in range(12, 29)} or entries * block < size:
        raise Damaged("its block table is too short for its size")
    count = -(-size // block)
    bitmap = -(-block // _SECTOR // 8 // _SECTOR) * _SECTOR
    found = []
    for number, (sector,) in enumerate(struct.iter_unpack(">I", image.exact(table, 4 * count, "block table"))):
        if sector != _NOWHERE:
            length = min(block, size - number * block)
            found.append((number * block, Extent(sector * _SECTOR + bitmap, length)))
    places = sorted(piece.offset for _, piece in found)
    if places and (places[0] < offset + bitmap or any(after - before < block for before, after in pairwise(places))):
        raise Damaged("it maps the same data many times, as decompression bombs do", rule="shared-clusters")
    if any(piece.end > image.size - _SECTOR for _, piece in found):
        raise Damaged("some of its data lies outside the file", rule="truncated", hint="is the file complete?")
    return tuple(found)


def _sum_holds(data: bytes, place: int) -> bool:
    """Return whether the checksum at ``place`` is right: the complement of the sum of all other bytes."""
    (stored,) = struct.unpack_from(">I", data, place)
    total = sum(data) - sum(data[place : place + 4])
    return bool(stored == total ^ 0xFFFF_FFFF)


def expand_vhd(source: Path, target: int, progress: Progress) -> int:
    """Write the disk that a VHD holds into an empty file, leaving holes for zeros.

    Args:
        source: the VHD.
        target: descriptor of the file.
        progress: receives one task, in bytes of the disk that are not holes.

    Returns:
        The size of the disk.

    Raises:
        UnsafeDiskError: inspection refuses it.
        StorageError: it cannot be read, or the target not be written.
    """
    with opened(source) as image, storage_errors(source, doing="cannot be read"):
        try:
            vhd = parse(image)
        except Damaged as damage:
            danger = damage.danger
            raise UnsafeDiskError(image.path, danger.rule, danger.reason, hint=danger.hint) from None
        with progress.task("expanding vhd", sum(piece.length for _, piece in vhd.pieces)) as task:
            for place, piece in vhd.pieces:
                for at in range(0, piece.length, _STEP):
                    data = os.pread(image.descriptor, min(_STEP, piece.length - at), piece.offset + at)
                    write_sparse(target, data, place + at)
                    task.advance(len(data))
        os.ftruncate(target, vhd.size)
    return vhd.size
