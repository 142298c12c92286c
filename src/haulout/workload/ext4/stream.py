"""Yielding a planned file system, from its first byte to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from haulout.rootfs import Device, Directory, File, Symlink
from haulout.workload.ext4 import directories, extents, inodes, superblock, xattrs
from haulout.workload.ext4.geometry import BLOCK, INODE, Allocator, Extent
from haulout.workload.ext4.plan import place
from haulout.workload.ext4.survey import JOURNAL, LOST_AND_FOUND, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.rootfs import FileReader, Node
    from haulout.workload.ext4.plan import Plan

CHUNK: Final = 1 << 20
"""Bytes yielded at a time, at most; a multiple of the block."""

_ZEROS: Final = bytes(CHUNK)
_NO_EXTENTS: Final = extents.build([], [], 0)[0]


def stream(plan: Plan) -> Iterator[bytes | bytearray]:
    """Yield the file system: whole blocks, in disk order, exactly ``plan.size`` bytes. Files are read as they come.

    What is yielded is not changed afterwards.

    Raises:
        InvalidRootfs: a source is not what it was when the tree was made.
        StorageError: it cannot be read any more.
    """
    return _Stream(plan).run()


class _Output:
    """Gathers small pieces into chunks; full ones wait to be taken."""

    def __init__(self) -> None:
        self._chunk = bytearray(CHUNK)
        self._used = 0
        self.full: list[bytes | bytearray] = []
        self.position = 0

    def view(self, most: int) -> memoryview:
        """Return room for the next bytes, up to ``most`` of them: zeros, to be filled and then ``advance``d over."""
        return memoryview(self._chunk)[self._used : self._used + most]

    def advance(self, amount: int) -> None:
        """Go over bytes of the last view."""
        self._used += amount
        self.position += amount
        if self._used == CHUNK:
            self.full.append(self._chunk)
            self._chunk = bytearray(CHUNK)
            self._used = 0

    def put(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        rest = memoryview(data)
        while rest:
            view = self.view(len(rest))
            view[:] = rest[: len(view)]
            rest = rest[len(view) :]
            self.advance(len(view))

    def zeros(self, amount: int) -> Iterator[bytes | bytearray]:
        """Append zeros, yielding what gets full."""
        while amount:
            if not self._used and amount >= CHUNK:
                yield from self.take()
                yield _ZEROS
                self.position += CHUNK
                amount -= CHUNK
                continue
            step = len(self.view(amount))
            self.advance(step)
            amount -= step
        yield from self.take()

    def take(self) -> Iterator[bytes | bytearray]:
        """Yield what is full."""
        full, self.full = self.full, []
        yield from full

    def finish(self) -> Iterator[bytes | bytearray]:
        """Yield the rest."""
        yield from self.take()
        if self._used:
            yield bytes(self._chunk[: self._used])


class _Stream:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._survey = plan.survey
        self._layout = plan.layout
        self._seed = superblock.seed_of(plan.uuid)
        self._books = superblock.books(plan)
        self._out = _Output()
        self._allocator = Allocator(plan.layout.geometry)
        self._backups = list(reversed(plan.layout.geometry.backups))
        self._journal_root = b""
        if plan.layout.journal_blocks:
            allocator = Allocator(plan.layout.geometry)
            allocator.end = plan.layout.journal
            self._journal_extents = allocator.extents(((0, plan.layout.journal_blocks),))
            self._journal_root, _ = extents.build(self._journal_extents, [], inodes.seed_of(self._seed, JOURNAL))

    def run(self) -> Iterator[bytes | bytearray]:
        """Yield everything, in the order ``plan`` handed out blocks."""
        out, layout = self._out, self._layout
        out.put(bytes(1024) + superblock.superblock(self._plan, self._books, self._journal_root, 0) + bytes(2048))
        out.put(self._books.descriptors)
        for number, bitmap in zip(layout.block_bitmaps, self._books.block_bitmaps, strict=True):
            yield from self._at(number, bitmap.tobytes())
        for number, bitmap in zip(layout.inode_bitmaps, self._books.inode_bitmaps, strict=True):
            yield from self._at(number, bitmap.tobytes())
        for group, number in enumerate(layout.tables):
            yield from self._at(number, self._table(group))
        if layout.journal_blocks:
            first = self._journal_extents[0][1]
            yield from self._at(first, superblock.journal_head(layout.journal_blocks, self._plan.uuid))
        for directory in self._survey.directories:
            yield from self._directory(directory)
        for node, number in layout.attributes.items():
            outside = xattrs.split(node.xattrs, b"")[1]
            yield from self._at(number, xattrs.block(outside, number, self._seed))
        for link in self._survey.symlinks:
            (extent,), _ = self._places(link)
            yield from self._at(extent[1], link.target.ljust(BLOCK, b"\0"))
        with self._survey.tree.reading() as reader:
            for file in self._survey.files:
                yield from self._file(file, reader)
        yield from self._go_to(layout.geometry.blocks)
        yield from out.zeros(self._plan.size - out.position)
        yield from out.finish()

    def _go_to(self, block: int) -> Iterator[bytes | bytearray]:
        """Fill up to ``block`` with zeros, and with the backups on the way."""
        out = self._out
        while self._backups and self._backups[-1] < block:
            backup = self._backups.pop()
            yield from out.zeros(backup * BLOCK - out.position)
            group = backup // (8 * BLOCK)
            copy = superblock.superblock(self._plan, self._books, self._journal_root, group)
            out.put(copy + bytes(BLOCK - len(copy)) + self._books.descriptors)
        yield from out.zeros(block * BLOCK - out.position)

    def _at(self, block: int, data: bytes) -> Iterator[bytes | bytearray]:
        yield from self._go_to(block)
        self._out.put(data)
        yield from self._out.take()

    def _places(self, node: Node) -> tuple[list[Extent], list[int]]:
        self._allocator.end = self._layout.starts[node]
        return place(self._allocator, self._survey, node)

    def _directory(self, directory: Directory) -> Iterator[bytes | bytearray]:
        survey = self._survey
        number = survey.number(directory)
        seed = inodes.seed_of(self._seed, number)
        entries = [(b".", number, directories.DIRECTORY), (b"..", survey.parents[directory], directories.DIRECTORY)]
        for name in sorted(directory.children):
            node = directory.children[name]
            entries.append((name, survey.number(node), directories.kind_of(node)))
        blocks = directories.pack(entries, seed)
        found, places = self._places(directory)
        for _, start, count in found:
            for index in range(count):
                yield from self._at(start + index, next(blocks, None) or directories.block([], seed))
        yield from self._tree_blocks(found, places, seed)

    def _tree_blocks(self, found: list[Extent], places: list[int], seed: int) -> Iterator[bytes | bytearray]:
        if places:
            _, blocks = extents.build(found, places, seed)
            for number, block in zip(places, blocks, strict=True):
                yield from self._at(number, block)

    def _file(self, file: File, reader: FileReader) -> Iterator[bytes | bytearray]:
        out = self._out
        found, places = self._places(file)
        parts = list(reversed(file.stored))
        reader.begin(file)
        for first, start, count in found:
            if out.position != start * BLOCK:
                yield from self._go_to(start)
            position, behind = first * BLOCK, (first + count) * BLOCK
            while position < behind:
                offset, size = parts.pop() if parts else (behind, 0)
                if offset > position:
                    gap = min(offset, behind) - position
                    yield from out.zeros(gap)
                    position += gap
                taken = max(0, min(size, behind - position)) if offset <= position else 0
                if taken < size:
                    parts.append((offset + taken, size - taken))
                position += taken
                while taken:
                    view = out.view(taken)
                    reader.fill(view)
                    taken -= len(view)
                    out.advance(len(view))
                if out.full:
                    yield from out.take()
        if places:
            yield from self._tree_blocks(found, places, inodes.seed_of(self._seed, self._survey.number(file)))

    def _table(self, group: int) -> bytes:
        """Return a group's inode table."""
        per_group = self._layout.geometry.inodes_per_group
        first = group * per_group + 1
        table = bytearray(per_group * INODE)
        for number in range(first, min(first + per_group, LOST_AND_FOUND + len(self._survey.nodes))):
            inode = self._inode(number)
            if inode:
                at = (number - first) * INODE
                table[at : at + INODE] = inode
        inodes.seal(np.frombuffer(table, dtype=np.uint8).reshape(-1, INODE), first, self._seed)
        return bytes(table)

    def _inode(self, number: int) -> bytes | None:
        if number == JOURNAL and self._layout.journal_blocks:
            blocks = self._layout.journal_blocks
            journal = File(mode=0o600, mtime=self._plan.now * 10**9, size=blocks * BLOCK, source=0, offset=0)
            return self._pack(journal, 1, journal.size, blocks, inodes.EXTENTS, self._journal_root)
        if number == ROOT:
            return self._node(self._survey.root, number)
        if number < LOST_AND_FOUND:
            return None
        return self._node(self._survey.nodes[number - LOST_AND_FOUND], number)

    def _node(self, node: Node, number: int) -> bytes:
        links = self._survey.links_of(node)
        if isinstance(node, Device):
            return self._pack(node, links, 0, 0, 0, inodes.device_block(node))
        if isinstance(node, Symlink) and node not in self._layout.starts:
            return self._pack(node, links, len(node.target), 0, 0, node.target.ljust(60, b"\0"))
        if node not in self._layout.starts:
            size = node.size if isinstance(node, File) else 0
            flags = inodes.EXTENTS if isinstance(node, File) else 0
            return self._pack(node, links, size, 0, flags, _NO_EXTENTS if flags else bytes(60))
        found, places = self._places(node)
        blocks = sum(count for _, _, count in found)
        seed = inodes.seed_of(self._seed, number) if places else 0
        root, _ = extents.build(found, places, seed)
        size = blocks * BLOCK
        if isinstance(node, (File, Symlink)):
            size = node.size if isinstance(node, File) else len(node.target)
        return self._pack(node, links, size, blocks + len(places), inodes.EXTENTS, root)

    def _pack(self, node: Node, links: int, size: int, blocks: int, flags: int, root: bytes) -> bytes:
        attributes = self._layout.attributes.get(node, 0)
        return inodes.pack(
            node,
            links=links,
            size=size,
            sectors=(blocks + bool(attributes)) * (BLOCK // 512),
            flags=flags,
            block=root,
            attributes=attributes,
            tail=xattrs.inside_inode(xattrs.split(node.xattrs, b"")[0]),
            now=self._plan.now * 10**9,
        )
