"""What a tree asks of a file system: its inodes, numbered, and how many blocks each wants. Pure; nothing is read."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidRootfs
from haulout.rootfs import Device, Directory, File, Node, Symlink
from haulout.workload.ext4.directories import count_blocks
from haulout.workload.ext4.geometry import BLOCK, Runs
from haulout.workload.ext4.xattrs import split

if TYPE_CHECKING:
    from haulout.rootfs import Tree

ROOT: Final = 2
JOURNAL: Final = 8
LOST_AND_FOUND: Final = 11
"""The first inode that is not reserved; by custom this directory's."""

_NAME: Final = b"lost+found"
_LOST_BLOCKS: Final = 4
"""Blocks for what e2fsck finds, as many as mke2fs leaves: e2fsck may be unable to allocate more."""

_LINKS_MAX: Final = 65000
_FILE_MAX: Final = (1 << 32) * BLOCK - BLOCK
_FAST_SYMLINK: Final = 60
_MAJOR_MAX: Final = 1 << 12
_MINOR_MAX: Final = 1 << 20


class Survey:
    """The inodes of a tree. ``nodes[i]`` has the number ``LOST_AND_FOUND + i``; the root has its own."""

    def __init__(self, tree: Tree, now: int) -> None:
        self.tree = tree
        lost = tree.root.children.get(_NAME)
        if lost is None:
            lost = Directory(mode=0o700, mtime=now * 10**9)
        elif not isinstance(lost, Directory):
            raise InvalidRootfs("the tree", _NAME, "kind", "lost+found must be a directory")
        self.root = tree.root.with_child(_NAME, lost)
        self.nodes: list[Node] = [lost]
        self.links = array("I", [2])
        self.parents: dict[Node, int] = {self.root: ROOT, lost: ROOT}
        self.directories: list[Directory] = []
        """In order of their inodes, the root first."""
        self.directory_blocks: dict[Node, int] = {}
        self.root_links = 2
        self.attributes: list[Node] = []
        """What has extended attributes in a block."""
        self.symlinks: list[Symlink] = []
        """What has its target in a block."""
        self.files: list[File] = []
        """What has data, in the order it is read."""
        self._numbers: dict[Node, int] = {self.root: ROOT, lost: LOST_AND_FOUND}
        self._walk()
        self.files.sort(key=lambda file: (file.source, file.offset))
        for index, count in enumerate(self.links):
            if count > _LINKS_MAX and not isinstance(self.nodes[index], Directory):
                raise InvalidRootfs(
                    "the tree", "", "hardlink", f"a file with {count} names; ext4 allows at most {_LINKS_MAX}"
                )

    def number(self, node: Node) -> int:
        """Return a node's inode number."""
        return self._numbers[node]

    def links_of(self, node: Node) -> int:
        """Return a node's count of links; 1 for a directory with more subdirectories than fit (dir_nlink)."""
        number = self._numbers[node]
        count = self.root_links if number == ROOT else self.links[number - LOST_AND_FOUND]
        return count if count <= _LINKS_MAX else 1

    def _walk(self) -> None:
        pending: list[tuple[bytes, Directory]] = [(b"", self.root)]
        while pending:
            path, directory = pending.pop()
            number = self._numbers[directory]
            names = sorted(directory.children)
            blocks = count_blocks(names)
            self.directories.append(directory)
            self.directory_blocks[directory] = max(blocks, _LOST_BLOCKS) if number == LOST_AND_FOUND else blocks
            self._extended(directory, path)
            below = []
            for name in names:
                node = directory.children[name]
                inside = path + b"/" + name if path else name
                known = self._numbers.get(node)
                if known is not None and known != LOST_AND_FOUND:
                    self.links[known - LOST_AND_FOUND] += 1
                    continue
                if known is None:
                    self._numbers[node] = LOST_AND_FOUND + len(self.nodes)
                    self.nodes.append(node)
                    self.links.append(2 if isinstance(node, Directory) else 1)
                if isinstance(node, Directory):
                    self.parents[node] = number
                    below.append((inside, node))
                else:
                    self._leaf(node, inside)
            if number == ROOT:
                self.root_links += len(below)
            else:
                self.links[number - LOST_AND_FOUND] += len(below)
            pending += reversed(below)
        self.directories.sort(key=self.number)

    def _leaf(self, node: Node, path: bytes) -> None:
        self._extended(node, path)
        if isinstance(node, File):
            if node.size > _FILE_MAX:
                raise InvalidRootfs("the tree", path, "size", f"a file of {node.size} bytes; the limit is 16 TiB")
            if node.stored:
                self.files.append(node)
        elif isinstance(node, Symlink):
            if len(node.target) >= _FAST_SYMLINK:
                self.symlinks.append(node)
        elif isinstance(node, Device) and not (0 <= node.major < _MAJOR_MAX and 0 <= node.minor < _MINOR_MAX):
            raise InvalidRootfs("the tree", path, "device", f"{node.major}:{node.minor} is not a valid device number")

    def _extended(self, node: Node, path: bytes) -> None:
        if node.xattrs and split(node.xattrs, path)[1]:
            self.attributes.append(node)

    def runs(self, node: Node) -> Runs:
        """Return the blocks a node's content takes."""
        if isinstance(node, File):
            return _file_runs(node)
        if isinstance(node, Directory):
            return ((0, self.directory_blocks[node]),)
        return ((0, 1),) if isinstance(node, Symlink) and len(node.target) >= _FAST_SYMLINK else ()


def _file_runs(file: File) -> Runs:
    if file.segments is None:
        return ((0, -(-file.size // BLOCK)),) if file.size else ()
    runs: list[tuple[int, int]] = []
    for offset, size in file.segments:
        first, behind = offset // BLOCK, -(-(offset + size) // BLOCK)
        if runs and first <= runs[-1][0] + runs[-1][1]:
            start = runs.pop()[0]
            runs.append((start, behind - start))
        else:
            runs.append((first, behind - first))
    return tuple(runs)
