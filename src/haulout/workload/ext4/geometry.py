"""Where things may lie: groups, backups of the superblock, and handing out blocks in ascending order. Pure.

With flex_bg a group's bitmaps and inode table may lie anywhere, so all of them stand in front and file data runs on
behind them, interrupted only by the backups that sparse_super wants at the beginning of some groups.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

BLOCK: Final = 4096
GROUP: Final = 8 * BLOCK
"""Blocks of a group: as many as one block has bits."""

EXTENT_MAX: Final = 32768
"""Blocks of one initialised extent."""

DESCRIPTOR: Final = 32
INODE: Final = 256
INODES_A_BLOCK: Final = BLOCK // INODE

Extent = tuple[int, int, int]
"""(first block in the file, first block on the disk, blocks)"""
Runs = tuple[tuple[int, int], ...]
"""(first block in the file, blocks) of what is stored of a file, ascending."""


def has_backup(group: int) -> bool:
    """Return whether sparse_super puts a copy of the superblock into a group: 0, 1, and powers of 3, 5 and 7."""
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return group <= 1


@dataclass(frozen=True, slots=True)
class Geometry:
    """The fixed sizes of a file system."""

    blocks: int
    inodes_per_group: int
    groups: int = field(init=False)
    descriptor_blocks: int = field(init=False)
    backups: tuple[int, ...] = field(init=False)
    """First blocks of the superblock's copies, without the first."""

    def __post_init__(self) -> None:
        groups = -(-self.blocks // GROUP)
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "descriptor_blocks", -(-groups * DESCRIPTOR // BLOCK))
        object.__setattr__(self, "backups", tuple(group * GROUP for group in range(1, groups) if has_backup(group)))

    @property
    def inodes(self) -> int:
        """All inodes there are."""
        return self.groups * self.inodes_per_group

    @property
    def table_blocks(self) -> int:
        """Blocks of one group's inode table."""
        return self.inodes_per_group // INODES_A_BLOCK

    @property
    def copy_blocks(self) -> int:
        """Blocks of one copy of superblock and descriptors."""
        return 1 + self.descriptor_blocks

    def free_from(self, block: int) -> tuple[int, int]:
        """Return the first block from ``block`` on that is in no backup, and where the next backup begins."""
        index = bisect_right(self.backups, block)
        if index and block < self.backups[index - 1] + self.copy_blocks:
            block = self.backups[index - 1] + self.copy_blocks
        # No backup is the neighbour of another: a group is longer than a copy by far.
        return block, self.backups[index] if index < len(self.backups) else 1 << 62


class Allocator:
    """Hands out blocks in ascending order, never one of a backup."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self.end = geometry.copy_blocks
        """The first block not handed out."""
        self.gaps: list[tuple[int, int]] = []
        """(first, behind the last) of blocks passed over, which stay free."""

    def together(self, count: int) -> int:
        """Take ``count`` blocks in one piece; returns the first."""
        start, backup = self._geometry.free_from(self.end)
        while start + count > backup:
            self.gaps.append((start, backup))
            start, backup = self._geometry.free_from(backup)
        self.end = start + count
        return start

    def extents(self, runs: Runs) -> list[Extent]:
        """Take the blocks of ``runs``, in pieces where a backup is in the way, or an extent is full."""
        extents: list[Extent] = []
        position = self.end
        for first, count in runs:
            while count:
                position, backup = self._geometry.free_from(position)
                taken = min(count, EXTENT_MAX, backup - position)
                extents.append((first, position, taken))
                first, count, position = first + taken, count - taken, position + taken  # noqa: PLW2901
        self.end = position
        return extents
