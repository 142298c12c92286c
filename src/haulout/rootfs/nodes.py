"""What a root file system is made of. A file with several names (hard links) is one node in several directories.

A tree, once made, is not changed: another one gets copies of the directories on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

Segments = tuple[tuple[int, int], ...]
"""(offset in the file, bytes) of the parts of a sparse file that are stored; ascending, the rest is zeros."""


class Attributes(TypedDict):
    """What a node of any kind is made with."""

    mode: int
    uid: int
    gid: int
    mtime: int
    xattrs: Mapping[bytes, bytes]


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    """One inode: what all kinds have."""

    mode: int
    """Permissions with setuid, setgid and sticky: the lowest 12 bits, without the kind."""
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    """Nanoseconds since 1970."""
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(slots=True, eq=False, kw_only=True)
class Directory(Node):
    """Names and what they stand for; never two names for one directory."""

    children: dict[bytes, Node] = field(default_factory=dict)

    def with_child(self, name: bytes, node: Node) -> Directory:
        """Return a copy in which ``name`` stands for ``node``."""
        return replace(self, children=self.children | {name: node})


@dataclass(slots=True, eq=False, kw_only=True)
class File(Node):
    """A regular file; its bytes are at ``offset`` of source number ``source`` of the tree."""

    size: int
    source: int
    offset: int
    segments: Segments | None = None
    """None: all of it is stored."""

    @property
    def stored(self) -> Segments:
        """The parts that are stored, one after another at the source."""
        if self.segments is None:
            return ((0, self.size),) if self.size else ()
        return self.segments


@dataclass(slots=True, eq=False, kw_only=True)
class Symlink(Node):
    """A symbolic link. Its target is data, and never followed here."""

    target: bytes


@dataclass(slots=True, eq=False, kw_only=True)
class Device(Node):
    """A character or block device."""

    is_block: bool
    major: int
    minor: int


@dataclass(slots=True, eq=False, kw_only=True)
class Fifo(Node):
    """A named pipe."""


@dataclass(slots=True, eq=False, kw_only=True)
class Socket(Node):
    """A socket that was left behind; only a folder can hold one."""
