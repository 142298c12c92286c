"""Superblock, group descriptors, bitmaps and the journal's own superblock.

Source: the Linux kernel's documentation of ext4, "The Super Block", "Block Group Descriptors", "Journal (jbd2)".
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from haulout.workload.ext4.crc32c import ONES, crc32c, crc32c_rows
from haulout.workload.ext4.geometry import BLOCK, DESCRIPTOR, GROUP, INODE
from haulout.workload.ext4.survey import JOURNAL, LOST_AND_FOUND

if TYPE_CHECKING:
    from uuid import UUID

    from haulout.workload.ext4.crc32c import Bytes
    from haulout.workload.ext4.plan import Plan

_HAS_JOURNAL, _EXT_ATTR, _DIR_INDEX = 0x4, 0x8, 0x20
_FILETYPE, _EXTENTS, _FLEX_BG = 0x2, 0x40, 0x200
_SPARSE_SUPER, _LARGE_FILE, _HUGE_FILE, _DIR_NLINK, _EXTRA_ISIZE, _METADATA_CSUM = 0x1, 0x2, 0x8, 0x20, 0x40, 0x400
_UNSIGNED_HASH: Final = 2
_HALF_MD4: Final = 1
_ITABLE_ZEROED: Final = 4
_GROUPS_PER_FLEX_LOG: Final = 4
_JBD2_MAGIC: Final = 0xC03B_3998
_JBD2_SUPERBLOCK: Final = 4


@dataclass(frozen=True, slots=True)
class Books:
    """What the groups' descriptors count, and the bitmaps they count from: one row for each group."""

    block_bitmaps: Bytes
    inode_bitmaps: Bytes
    descriptors: bytes
    free_blocks: int
    free_inodes: int


def seed_of(uuid: UUID) -> int:
    """Return what a file system's checksums begin with."""
    return crc32c(ONES, uuid.bytes)


def hash_seed(uuid: UUID) -> bytes:
    """Return the 16 bytes that names are hashed with: any will do, but the same for the same file system."""
    return hashlib.sha256(b"directory hash seed\0" + uuid.bytes).digest()[:16]


def books(plan: Plan) -> Books:
    """Count what is used, group by group."""
    layout, survey, geometry = plan.layout, plan.survey, plan.layout.geometry
    groups, per_group = geometry.groups, geometry.inodes_per_group
    used_inodes = LOST_AND_FOUND - 1 + len(survey.nodes)
    taken = np.minimum(np.maximum(used_inodes - np.arange(groups) * per_group, 0), per_group)
    directories = np.bincount(
        [(survey.number(directory) - 1) // per_group for directory in survey.directories], minlength=groups
    )
    block_bitmaps = np.empty((groups, BLOCK), dtype=np.uint8)
    inode_bitmaps = np.empty((groups, BLOCK), dtype=np.uint8)
    free = []
    for group in range(groups):
        bits = _used(plan, group)
        free.append(GROUP - int(np.count_nonzero(bits)))
        block_bitmaps[group] = np.packbits(bits, bitorder="little")
        bits = np.ones(GROUP, dtype=np.bool_)
        bits[taken[group] : per_group] = False
        inode_bitmaps[group] = np.packbits(bits, bitorder="little")
    seed = seed_of(plan.uuid)
    block_sums = crc32c_rows(seed, block_bitmaps)
    inode_sums = crc32c_rows(seed, inode_bitmaps[:, : per_group // 8]) if per_group >= 32 else None
    rows = []
    for group in range(groups):
        unused = int(per_group - taken[group])
        inode_sum = (
            int(inode_sums[group])
            if inode_sums is not None
            else crc32c(seed, inode_bitmaps[group, : per_group // 8].tobytes())
        )
        row = struct.pack(
            "<IIIHHHHIHHH",
            layout.block_bitmaps[group],
            layout.inode_bitmaps[group],
            layout.tables[group],
            free[group],
            unused,
            int(directories[group]),
            _ITABLE_ZEROED,
            0,
            int(block_sums[group]) & 0xFFFF,
            inode_sum & 0xFFFF,
            unused,
        )
        own = crc32c(seed, group.to_bytes(4, "little"))
        rows.append(row + (crc32c(own, row + b"\0\0") & 0xFFFF).to_bytes(2, "little"))
    descriptors = b"".join(rows)
    assert len(descriptors) == groups * DESCRIPTOR
    return Books(
        block_bitmaps,
        inode_bitmaps,
        descriptors.ljust(geometry.descriptor_blocks * BLOCK, b"\0"),
        sum(free),
        int(geometry.inodes - used_inodes),
    )


def _used(plan: Plan, group: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    layout, geometry = plan.layout, plan.layout.geometry
    base = group * GROUP
    bits = np.zeros(GROUP, dtype=np.bool_)
    bits[: max(0, layout.end - base)] = True
    for start, behind in layout.gaps:
        bits[max(0, start - base) : max(0, behind - base)] = False
    if base in geometry.backups:
        bits[: geometry.copy_blocks] = True
    bits[max(0, geometry.blocks - base) :] = True  # there is nothing behind the end
    return bits


def superblock(plan: Plan, counted: Books, journal_root: bytes, group: int) -> bytes:
    """Return the 1024 bytes of the superblock, or of its copy in ``group``.

    Args:
        plan: the file system.
        counted: what is used of it.
        journal_root: the 60 bytes of the journal's extent tree, or b"".
        group: 0 for the superblock itself.
    """
    geometry, journal_size = plan.layout.geometry, plan.journal_size
    now = min(max(plan.now, 0), 0xFFFF_FFFF)
    block = bytearray(1024)

    def put(offset: int, form: str, *values: int | bytes) -> None:
        struct.pack_into("<" + form, block, offset, *values)

    put(0x00, "IIIII", geometry.inodes, geometry.blocks, 0, counted.free_blocks, counted.free_inodes)
    put(0x14, "III", 0, 2, 2)  # first data block; block and cluster size: 1024 << 2
    put(0x20, "III", GROUP, GROUP, geometry.inodes_per_group)
    put(0x30, "IHHHHHHIIII", now, 0, 0xFFFF, 0xEF53, 1, 1, 0, now, 0, 0, 1)
    put(0x54, "IHH", LOST_AND_FOUND, INODE, group)
    put(
        0x5C,
        "III",
        _EXT_ATTR | _DIR_INDEX | (_HAS_JOURNAL if journal_size else 0),
        _FILETYPE | _EXTENTS | _FLEX_BG,
        _SPARSE_SUPER | _LARGE_FILE | _HUGE_FILE | _DIR_NLINK | _EXTRA_ISIZE | _METADATA_CSUM,
    )
    put(0x68, "16s", plan.uuid.bytes)
    put(0xEC, "16sB", hash_seed(plan.uuid), _HALF_MD4)
    put(0x108, "I", now)
    if journal_size:
        put(0xE0, "I", JOURNAL)
        put(0xFD, "B", 1)
        put(0x10C, "60sII", journal_root, journal_size >> 32, journal_size & 0xFFFF_FFFF)
    put(0x15C, "HHI", 32, 32, _UNSIGNED_HASH)
    put(0x174, "BB", _GROUPS_PER_FLEX_LOG, 1)  # 1: checksums are CRC-32C
    put(0x3FC, "I", crc32c(ONES, bytes(block[:0x3FC])))
    return bytes(block)


def journal_head(blocks: int, uuid: UUID) -> bytes:
    """Return the first block of an empty journal; what follows is zeros."""
    head = struct.pack(">IIIIIIII", _JBD2_MAGIC, _JBD2_SUPERBLOCK, 0, BLOCK, blocks, 1, 1, 0)
    return head.ljust(0x30, b"\0") + uuid.bytes + struct.pack(">I", 1) + bytes(BLOCK - 0x44)
