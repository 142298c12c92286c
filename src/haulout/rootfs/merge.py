"""Laying layers over one another, as the OCI image specification has it ("Applying Changesets"). Pure.

A whiteout removes what lower layers brought, never what its own layer did, in whichever order the two come.
A parent that is a symlink is followed inside the tree, as a container engine's chroot does: usr-merged images need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidRootfs
from haulout.rootfs.nodes import Directory, Node, Symlink

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.rootfs.limits import Path

    Visit = Callable[[Directory, bytes, Node | None], Node | None]

WHITEOUT: Final = b".wh."
_META: Final = b".wh..wh."
_OPAQUE: Final = b".wh..wh..opq"

MAX_SYMLINKS: Final = 40
"""Symlinks on the way to one entry, as Linux allows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a layer: ``node``, or another name (``link``) for a file that is there."""

    path: Path
    node: Node | None
    link: Path | None = None


class Merge:
    """The tree so far, and the layer being laid over it."""

    def __init__(self) -> None:
        self.root = Directory(mode=0o755)
        self._source = ""
        self._own: dict[Directory, set[bytes]] = {}
        """Names this layer brought, by directory."""

    def begin_layer(self, source: str) -> None:
        """Begin the next layer, called ``source`` in errors."""
        self._source = source
        self._own = {}

    def add(self, entry: Entry) -> None:
        """Lay one entry over the tree.

        Raises:
            InvalidRootfs: it contradicts the tree.
        """
        if not entry.path:
            if not isinstance(entry.node, Directory):
                raise self._refused(entry, "kind", "the root is not a directory")
            _take_attributes(self.root, entry.node)
            return
        if any(part.startswith(WHITEOUT) for part in entry.path):
            self._white_out(entry)
            return
        node = entry.node or self._linked(entry)

        def visit(holder: Directory, part: bytes, there: Node | None) -> Node:
            self._own.setdefault(holder, set()).add(part)
            if there is None:
                there = holder.children[part] = Directory(mode=0o755, mtime=node.mtime)
            return there

        parent = find_parent(self.root, entry.path, self._source, visit)
        name = entry.path[-1]
        self._own.setdefault(parent, set()).add(name)
        there = parent.children.get(name)
        if isinstance(there, Directory) and isinstance(node, Directory):
            _take_attributes(there, node)
        else:
            parent.children[name] = node

    def _linked(self, entry: Entry) -> Node:
        """Find the file an entry is another name for."""
        link = entry.link
        node = find_parent(self.root, link, self._source).children.get(link[-1]) if link else None
        if node is None:
            raise self._refused(entry, "hardlink", "a hard link to a file that does not exist")
        if isinstance(node, Directory):
            raise self._refused(entry, "hardlink", "a hard link to a directory")
        return node

    def _white_out(self, entry: Entry) -> None:
        name = entry.path[-1]
        if name == _OPAQUE and not any(part.startswith(WHITEOUT) for part in entry.path[:-1]):
            directory = self._existing(entry.path[:-1])
            if directory is not None:
                self._prune(directory)
            return
        if is_metadata(entry.path):
            return
        if any(part.startswith(WHITEOUT) for part in entry.path[:-1]):
            raise self._refused(entry, "whiteout", "an entry inside a whiteout")
        hidden = name.removeprefix(WHITEOUT)
        if hidden in {b"", b".", b".."}:
            raise self._refused(entry, "whiteout", "a whiteout without a name")
        parent = self._existing(entry.path[:-1])
        there = parent.children.get(hidden) if parent is not None else None
        if parent is None or there is None:
            return  # Engines write whiteouts for what was never there, too.
        if hidden not in self._own.get(parent, ()):
            del parent.children[hidden]
        elif isinstance(there, Directory):
            self._prune(there)

    def _existing(self, path: Path) -> Directory | None:
        """Find a directory that whiteouts apply to; None: there is nothing to hide."""
        try:
            return find_parent(self.root, (*path, b""), self._source)
        except InvalidRootfs:
            return None

    def _prune(self, directory: Directory) -> None:
        """Remove what lower layers brought into a directory, at every depth."""
        pending = [directory]
        while pending:
            holder = pending.pop()
            own = self._own.get(holder, set())
            holder.children = {name: node for name, node in holder.children.items() if name in own}
            pending += [node for node in holder.children.values() if isinstance(node, Directory)]

    def _refused(self, entry: Entry, rule: str, reason: str) -> InvalidRootfs:
        return InvalidRootfs(self._source, b"/".join(entry.path) or b".", rule, reason)


def is_metadata(path: Path) -> bool:
    """Return whether a name is one under which aufs kept its metadata; no engine takes them for files."""
    names = path if path and path[-1] != _OPAQUE else path[:-1]
    return any(name.startswith(_META) for name in names)


def _take_attributes(old: Directory, new: Directory) -> None:
    old.mode, old.uid, old.gid, old.mtime, old.xattrs = new.mode, new.uid, new.gid, new.mtime, new.xattrs


def find_parent(root: Directory, path: Path, source: str, visit: Visit | None = None) -> Directory:
    """Walk to the directory that holds the last part of ``path``; symlinks lead inside the tree, never above its root.

    Args:
        root: where the path begins, and where absolute symlinks lead.
        path: at least one part.
        source: for errors.
        visit: is shown each step and returns what to take it for; by default what is there.

    Raises:
        InvalidRootfs: a part on the way is missing or not a directory, or there are too many symlinks.
    """
    refused = b"/".join(path)
    stack = [root]
    pending = list(reversed(path[:-1]))
    own_parts = len(pending)  # parts that come of a symlink are never made
    links = 0
    while pending:
        part = pending.pop()
        if part == b"..":
            stack = stack[:-1] or [root]
            continue
        node = stack[-1].children.get(part)
        if visit is not None and (node is not None or len(pending) < own_parts):
            node = visit(stack[-1], part, node)
        if isinstance(node, Symlink):
            links += 1
            if links > MAX_SYMLINKS:
                raise InvalidRootfs(source, refused, "parent", f"more than {MAX_SYMLINKS} symlinks lead to it")
            own_parts = min(own_parts, len(pending))
            if node.target[:1] == b"/":
                stack = [root]
            pending += [step for step in reversed(node.target.split(b"/")) if step not in {b"", b"."}]
        elif isinstance(node, Directory):
            stack.append(node)
        else:
            reason = "its directory does not exist" if node is None else "a part of its path is not a directory"
            raise InvalidRootfs(source, refused, "parent", reason)
    return stack[-1]
