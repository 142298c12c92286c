"""The merged tree, and reading its files again: in ascending order of their offsets, once."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from haulout.errors import InvalidRootfs
from haulout.rootfs.limits import split
from haulout.rootfs.merge import MAX_SYMLINKS, find_parent
from haulout.rootfs.nodes import Directory, File, Node, Symlink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager


class Reader(Protocol):
    """One pass over a source."""

    def begin(self, offset: int) -> None:
        """Go to the file at ``offset``, which is not before the last one."""

    def fill(self, view: memoryview) -> None:
        """Read the next bytes into the whole of ``view``.

        Raises:
            InvalidRootfs: there are not so many, or they are not what was there in the first pass.
        """


class FileSource(Protocol):
    """Holds the bytes of files; each source defines what its offsets mean."""

    @property
    def name(self) -> str:
        """Such as ``layer 2``."""

    def reader(self) -> AbstractContextManager[Reader]:
        """Begin a pass."""


class Held:
    """Small files, held in memory; an offset is an index."""

    def __init__(self, files: tuple[bytes, ...] = ()) -> None:
        self.files = files

    @property
    def name(self) -> str:
        """What errors call it."""
        return "memory"

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Begin a pass."""
        yield _HeldReader(self.files)


class _HeldReader:
    def __init__(self, files: tuple[bytes, ...]) -> None:
        self._files = files
        self._rest = memoryview(b"")

    def begin(self, offset: int) -> None:
        self._rest = memoryview(self._files[offset])

    def fill(self, view: memoryview) -> None:
        view[:] = self._rest[: len(view)]
        self._rest = self._rest[len(view) :]


@dataclass(frozen=True, slots=True)
class Tree:
    """A root file system; ``sources[0]`` holds the files added by hand."""

    root: Directory
    sources: tuple[Held, *tuple[FileSource, ...]]

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Yield (path, node) of everything: a directory before what it holds, names in ascending order of their bytes.

        Paths have no leading slash; the root's is empty. A node with several names comes several times.
        """
        pending: list[tuple[bytes, Node]] = [(b"", self.root)]
        while pending:
            path, node = pending.pop()
            yield path, node
            if isinstance(node, Directory):
                prefix = path + b"/" if path else b""
                pending += [(prefix + name, node.children[name]) for name in sorted(node.children, reverse=True)]

    def find(self, path: str | bytes) -> Node | None:
        """Return what ``path`` stands for, following symlinks on the way but not at its end; None for nothing.

        Raises:
            InvalidRootfs: the path is not valid, such as one with ``..``.
        """
        raw = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
        parts = split(raw.lstrip(b"/"), "the path asked for")
        if not parts:
            return self.root
        try:
            parent = find_parent(self.root, parts, "tree")
        except InvalidRootfs:
            return None
        return parent.children.get(parts[-1])

    def follow(self, path: bytes) -> Node | None:
        """Return what ``path`` stands for to a program in the tree: symlinks are followed at its end, too.

        Raises:
            InvalidRootfs: the path is not valid.
        """
        parts = split(path.lstrip(b"/"), "the path asked for")
        for _ in range(MAX_SYMLINKS):
            try:
                node = find_parent(self.root, parts, "tree").children.get(parts[-1]) if parts else self.root
            except InvalidRootfs:
                return None
            if not isinstance(node, Symlink):
                return node
            steps = tuple(step for step in node.target.split(b"/") if step not in {b"", b"."})
            parts = steps if node.target.startswith(b"/") else (*parts[:-1], *steps)
        return None

    def content_size(self) -> int:
        """Return the bytes of all files together, holes included, each file once."""
        return sum({id(node): node.size for _, node in self.walk() if isinstance(node, File)}.values())

    def with_file(
        self,
        path: str | bytes,
        data: bytes,
        *,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        xattrs: Mapping[bytes, bytes] | None = None,
    ) -> Tree:
        """Return a tree with one more small file, or in place of what was there; missing directories are made.

        Args:
            path: from the root; symlinks to directories on the way are followed, inside the tree.
            data: held in memory.
            mode: as of chmod.
            uid: of the owner.
            gid: of the group.
            mtime: nanoseconds since 1970.
            xattrs: name with its prefix to value.

        Raises:
            InvalidRootfs: the path is not valid, or leads through something that is not a directory.
        """
        raw = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
        held = self.sources[0]
        parts = split(raw.lstrip(b"/"), "the file added")
        if not parts:
            raise InvalidRootfs("the file added", raw, "name", "it has no name")
        file = File(
            mode=mode & 0o7777,
            uid=uid,
            gid=gid,
            mtime=mtime,
            xattrs=dict(xattrs or {}),
            size=len(data),
            source=0,
            offset=len(held.files),
        )
        root = replace(self.root, children=dict(self.root.children))

        def visit(holder: Directory, part: bytes, there: Node | None) -> Node:
            """Copy each directory on the way: this tree stays as it is."""
            if there is None:
                there = holder.children[part] = Directory(mode=0o755, mtime=mtime)
            elif isinstance(there, Directory):
                there = holder.children[part] = replace(there, children=dict(there.children))
            return there

        parent = find_parent(root, parts, "the file added", visit)
        if isinstance(parent.children.get(parts[-1]), Directory):
            raise InvalidRootfs("the file added", raw, "name", "there is a directory of this name")
        parent.children[parts[-1]] = file
        return Tree(root, (Held((*held.files, data)), *self.sources[1:]))

    @contextmanager
    def reading(self) -> Iterator[FileReader]:
        """Begin a pass over all files; see ``FileReader``."""
        with ExitStack() as stack:
            yield FileReader(self.sources, stack)


class FileReader:
    """Reads files in ascending order of (source, offset); a source is open only while its files are read."""

    def __init__(self, sources: tuple[FileSource, ...], stack: ExitStack) -> None:
        self._sources = sources
        self._stack = stack
        self._open: int | None = None
        self._reader: Reader | None = None

    def begin(self, file: File) -> None:
        """Go to a file's first stored byte."""
        if self._open != file.source:
            self._stack.close()
            self._reader = self._stack.enter_context(self._sources[file.source].reader())
            self._open = file.source
        assert self._reader is not None
        self._reader.begin(file.offset)

    def fill(self, view: memoryview) -> None:
        """Read the next stored bytes into the whole of ``view``."""
        assert self._reader is not None
        self._reader.fill(view)
