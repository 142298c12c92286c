"""Deciding where everything lies, before the first byte. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout.errors import ImageTooSmall, UsageError
from haulout.workload.ext4.extents import tree_blocks
from haulout.workload.ext4.geometry import (
    BLOCK,
    GROUP,
    INODES_A_BLOCK,
    Allocator,
    Extent,
    Geometry,
)
from haulout.workload.ext4.survey import LOST_AND_FOUND, Survey

if TYPE_CHECKING:
    from uuid import UUID

    from haulout.rootfs import Node, Tree

_LAST_GROUP_MIN: Final = 64
"""Blocks a last group is worth; fewer are left unused, behind the file system."""

_BYTES_PER_INODE: Final = 16384
"""One inode more for so many bytes of a given size: as many as mke2fs makes, none of them taken yet."""

_INODES_MAX: Final = GROUP
_BLOCKS_MAX: Final = 1 << 32
"""More would take the feature 64bit."""

# Blocks of the file system, from which on the journal has so many: the steps of mke2fs.
_JOURNALS: Final = (
    (1 << 25, 262144),
    (1 << 24, 131072),
    (1 << 23, 65536),
    (1 << 22, 32768),
    (1 << 19, 16384),
    (1 << 18, 8192),
    (1 << 15, 4096),
    (1 << 11, 1024),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie."""

    geometry: Geometry
    block_bitmaps: list[int]
    inode_bitmaps: list[int]
    tables: list[int]
    journal_blocks: int
    journal: int
    """Where the allocator stood before the journal."""
    starts: dict[Node, int]
    """Where it stood before the blocks of a node."""
    attributes: dict[Node, int]
    """Blocks of extended attributes."""
    gaps: list[tuple[int, int]]
    end: int
    """Behind the last block in use; there may be backups behind it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A file system to be."""

    survey: Survey
    layout: Layout
    size: int
    """Bytes that ``stream`` yields: all of the file system, and less than a group of zeros behind it."""
    uuid: UUID
    now: int

    @property
    def journal_size(self) -> int:
        """Bytes of the journal; 0 for none, in file systems below 8 MiB."""
        return self.layout.journal_blocks * BLOCK


def plan(tree: Tree, *, size: int | None, uuid: UUID, now: int) -> Plan:
    """Decide where everything lies.

    Args:
        tree: what the file system holds.
        size: bytes, a multiple of 4096; what the content leaves is free space, with inodes for it. None for the least.
        uuid: of the file system.
        now: seconds since 1970; when the file system says it was made.

    Raises:
        ImageTooSmall: the content does not fit.
        InvalidRootfs: ext4 cannot hold something.
        UsageError: a size ext4 cannot have.
    """
    if size is not None and (size <= 0 or size % BLOCK or size // BLOCK >= _BLOCKS_MAX):
        raise UsageError(f"the size must be a multiple of {BLOCK} below 16 TiB (got {size})")
    survey = Survey(tree, now)
    if size is None:
        layout = _least(survey)
        return Plan(survey, layout, layout.geometry.blocks * BLOCK, uuid, now)
    blocks = size // BLOCK
    if blocks > GROUP and blocks % GROUP < _LAST_GROUP_MIN:
        blocks -= blocks % GROUP
    groups = -(-blocks // GROUP)
    generous = min(_needed(survey) + blocks * BLOCK // _BYTES_PER_INODE, groups * _INODES_MAX)
    for inodes, journal in ((generous, _journal(blocks)), (_needed(survey), _journal(_content(survey)))):
        per_group = _per_group(inodes, groups)
        if per_group <= _INODES_MAX:
            layout = _lay(survey, Geometry(blocks, per_group), min(journal, _journal(blocks)))
            if layout.end <= blocks:
                return Plan(survey, layout, size, uuid, now)
    raise ImageTooSmall(size, _least(survey).geometry.blocks * BLOCK)


def _least(survey: Survey) -> Layout:
    """Lay everything into as few groups as hold it."""
    journal = _journal(_content(survey))
    groups = max(1, -(-_content(survey) // GROUP), -(-_needed(survey) // _INODES_MAX))
    while True:
        geometry = Geometry(groups * GROUP, _per_group(_needed(survey), groups))
        layout = _lay(survey, geometry, journal)
        if layout.end <= geometry.blocks:
            break
        groups = -(-layout.end // GROUP)
    least = (groups - 1) * GROUP + geometry.copy_blocks + _LAST_GROUP_MIN if groups > 1 else 0
    blocks = max(layout.end, least)
    if blocks >= _BLOCKS_MAX:
        raise UsageError("the content is too large for an ext4 of less than 16 TiB")
    return replace(layout, geometry=Geometry(blocks, geometry.inodes_per_group))


def _needed(survey: Survey) -> int:
    return LOST_AND_FOUND - 1 + len(survey.nodes)


def _content(survey: Survey) -> int:
    """Count blocks of content, without the file system's own."""
    nodes = (*survey.directories, *survey.symlinks, *survey.files)
    return len(survey.attributes) + sum(count for node in nodes for _, count in survey.runs(node))


def _per_group(inodes: int, groups: int) -> int:
    return -(-inodes // (groups * INODES_A_BLOCK)) * INODES_A_BLOCK


def _journal(blocks: int) -> int:
    return next((journal for least, journal in _JOURNALS if blocks >= least), 0)


def _lay(survey: Survey, geometry: Geometry, journal_blocks: int) -> Layout:
    """Hand out blocks in the order they are streamed; the end may lie behind the file system's."""
    allocator = Allocator(geometry)
    block_bitmaps = [allocator.together(1) for _ in range(geometry.groups)]
    inode_bitmaps = [allocator.together(1) for _ in range(geometry.groups)]
    tables = [allocator.together(geometry.table_blocks) for _ in range(geometry.groups)]
    journal = allocator.end
    allocator.extents(((0, journal_blocks),))
    starts: dict[Node, int] = {}
    for directory in survey.directories:
        starts[directory] = allocator.end
        place(allocator, survey, directory)
    attributes = {node: allocator.together(1) for node in survey.attributes}
    for node in (*survey.symlinks, *survey.files):
        starts[node] = allocator.end
        place(allocator, survey, node)
    return Layout(
        geometry,
        block_bitmaps,
        inode_bitmaps,
        tables,
        journal_blocks,
        journal,
        starts,
        attributes,
        allocator.gaps,
        allocator.end,
    )


def place(allocator: Allocator, survey: Survey, node: Node) -> tuple[list[Extent], list[int]]:
    """Take the blocks of a node: its content, and behind it those of its extent tree."""
    extents = allocator.extents(survey.runs(node))
    return extents, [allocator.together(1) for _ in range(tree_blocks(len(extents)))]
