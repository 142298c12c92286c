"""The versions of a repository or layout: its tags, with what each holds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from haulout.content import Graph, Node, read_graph
from haulout.documents import Document
from haulout.errors import InvalidManifest
from haulout.oci import Descriptor, Digest, Manifest, SizedDigest, is_helper_tag
from haulout.oci import annotations as keys
from haulout.resolve import Role, classify, look_inside, newest_first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.content import Store
    from haulout.progress import Progress

_AT_ONCE: Final = 200
"""Tags whose manifests are held in memory."""


@dataclass(frozen=True, slots=True)
class ListedDisk(Document):
    """One disk of a tag."""

    architecture: str | None
    disk_type: str | None
    manifest: Digest
    size: int
    """Compressed bytes."""
    disk: SizedDigest | None
    """The plain disk, as its publisher states it."""


@dataclass(frozen=True, slots=True)
class ListedTag(Document):
    """One tag."""

    tag: str
    manifest: Digest | None
    """None where it cannot be read."""
    created: datetime | None
    """As the manifest states it."""
    size: int
    """Bytes of all that the tag holds, what several entries share counted once; what is attached is left out."""
    disks: tuple[ListedDisk, ...]
    note: str | None = None
    """Why it cannot be read."""

    @property
    def is_helper(self) -> bool:
        """Whether a tool wrote it for its own use."""
        return is_helper_tag(self.tag)


def list_tags(store: Store, *, helpers: bool, progress: Progress) -> tuple[tuple[ListedTag, ...], int]:
    """Read all tags, versions newest first, and the number of helper tags that are left out.

    Args:
        store: where.
        helpers: whether tags that tools write for their own use are listed, too; they come last.
        progress: receives the work.

    Raises:
        HauloutError: as listing tags and reading manifests do.
    """
    names = list(store.tags())
    versions = newest_first(tag for tag in names if not is_helper_tag(tag))
    hidden = sorted(tag for tag in names if is_helper_tag(tag))
    shown = [*versions, *hidden] if helpers else versions
    found: list[ListedTag] = []
    for begin in range(0, len(shown), _AT_ONCE):
        some = shown[begin : begin + _AT_ONCE]
        graph = read_graph(store, some, referrers=False, progress=progress)
        found += (listed(graph, tag) for tag in some if tag in graph.tags or tag in graph.unreadable)
    return tuple(found), len(hidden)


def listed(graph: Graph, tag: str) -> ListedTag:
    """Describe one tag. Pure."""
    digest = graph.tags.get(tag)
    if digest is None:
        return ListedTag(tag, None, None, 0, (), str(graph.unreadable[tag]))
    node = graph.nodes[digest]
    size = sum(graph.reach([digest], attached=False).values())
    return ListedTag(tag, digest, created_at(node), size, tuple(disks_of(graph, digest)))


def created_at(node: Node) -> datetime | None:
    """Return when a manifest says that it was made; a time without a zone is taken for UTC."""
    with suppress(ValueError):
        found = datetime.fromisoformat(node.descriptor.annotations.get(keys.CREATED, ""))
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def disks_of(graph: Graph, root: Digest) -> Iterator[ListedDisk]:
    """Yield the disks among a manifest and its entries, in their order."""
    for entry, node in entries(graph, root):
        if not isinstance(node.parsed, Manifest):
            continue
        known = look_inside(classify(entry), node.parsed)
        if known.role is Role.DISK:
            size = sum(layer.size for layer in node.parsed.layers)
            yield ListedDisk(known.architecture, known.disk_type, entry.digest, size, stated(node, keys.DISK))


def entries(graph: Graph, root: Digest) -> Iterator[tuple[Descriptor, Node]]:
    """Yield a manifest and all that is nested in it, parents first, each once for every entry that lists it."""
    seen: set[Digest] = set()

    def below(entry: Descriptor) -> Iterator[tuple[Descriptor, Node]]:
        node = graph.nodes.get(entry.digest)
        if node is None:
            return
        yield entry, node
        if entry.digest not in seen:
            seen.add(entry.digest)
            for child in node.children:
                yield from below(child)

    if root in graph.nodes:
        yield from below(graph.nodes[root].descriptor)


def stated(node: Node, key: str) -> SizedDigest | None:
    """Return a sized digest that a manifest states; None where it states none, or nonsense."""
    with suppress(InvalidManifest):
        return SizedDigest.parse(node.descriptor.annotations.get(key, ""), key)
    return None
