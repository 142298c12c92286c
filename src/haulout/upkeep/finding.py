"""Where a digest is: from a disk to its blob, entry, index, tags and container image, and back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.documents import Document
from haulout.oci import Descriptor, Index, SizedDigest, is_helper_tag, mediatype
from haulout.oci import annotations as keys
from haulout.resolve import Role, classify, look_inside
from haulout.upkeep.listing import ListedDisk, disks_of, entries, stated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.content import Graph, Node
    from haulout.oci import Digest

_STATED = {
    keys.DISK: "disk",
    keys.TOC: "table of contents",
    keys.CRUMBS: "small frames",
    keys.DELTA_FROM: "delta from this disk",
}
_ATTACHED = {
    mediatype.TOC: "table of contents",
    mediatype.HINTS: "hints",
    mediatype.CRUMBS: "small frames",
    mediatype.DELTA_INDEX: "delta",
    mediatype.DELTA_DATA: "delta",
    mediatype.DELTA_HINTS: "delta",
}


@dataclass(frozen=True, slots=True)
class Match(Document):
    """One manifest that is, holds or states a digest."""

    repository: str
    is_a: str
    """What the digest is there: ``disk``, ``blob``, ``disk manifest``, ``container image``, ``index``, …"""
    tags: tuple[str, ...]
    """Tags that reach the manifest."""
    manifest: Digest
    architecture: str | None
    disk_type: str | None
    title: str | None
    blob: SizedDigest | None
    """The compressed disk of the manifest."""
    disk: SizedDigest | None
    """The plain disk, as its publisher states it."""
    containers: tuple[Digest, ...]
    """Bootable container images of the same architecture under the same tags."""
    disks: tuple[ListedDisk, ...]
    """Disks under an index, or beside a container image."""


def find_digest(graph: Graph, repository: str, digest: Digest) -> Iterator[Match]:
    """Yield every manifest of a graph that is, holds or states ``digest``."""
    reached = {root: graph.reach([root]) for root in dict.fromkeys(graph.tags.values())}
    as_listed = {entry.digest: entry for root in reached for entry, _ in entries(graph, root)}
    for own, node in graph.nodes.items():
        entry = as_listed.get(own, node.descriptor)
        what = _what_it_is(node, entry, digest)
        if what is None:
            continue
        roots = [root for root in reached if own in reached[root]]
        yield _match(graph, repository, what, entry, node, roots)


def _what_it_is(node: Node, entry: Descriptor, digest: Digest) -> str | None:
    if node.descriptor.digest == digest:
        if isinstance(node.parsed, Index):
            return "index"
        role = look_inside(classify(entry), node.parsed).role
        return {Role.DISK: "disk manifest", Role.CONTAINER: "container image"}.get(role, "manifest")
    for key, what in _STATED.items():
        found = stated(node, key)
        if found is not None and found.digest == digest:
            return what
    for number, blob in enumerate(node.blobs):
        if blob.digest == digest and blob.media_type != mediatype.OCI_EMPTY:
            return "config" if number == 0 else _ATTACHED.get(blob.media_type, "blob")
    return None


def _match(graph: Graph, repository: str, what: str, entry: Descriptor, node: Node, roots: list[Digest]) -> Match:
    known = None if isinstance(node.parsed, Index) else look_inside(classify(entry), node.parsed)
    architecture = known.architecture if known else None
    is_disk = known is not None and known.role is Role.DISK
    layer = node.blobs[1] if is_disk and len(node.blobs) > 1 else None
    beside = {digest: each for root in roots for digest, each in _containers(graph, root)}
    if known is None:
        disks = tuple(disks_of(graph, node.descriptor.digest))
    elif known.role is Role.CONTAINER:
        found = dict.fromkeys(disk for root in roots for disk in disks_of(graph, root))
        disks = tuple(disk for disk in found if disk.architecture == architecture)
    else:
        disks = ()
    return Match(
        repository,
        what,
        tuple(tag for root in roots for tag in graph.tags_of(root) if not is_helper_tag(tag)),
        node.descriptor.digest,
        architecture,
        known.disk_type if is_disk and known else None,
        layer.title if layer else None,
        SizedDigest(layer.digest, layer.size) if layer else None,
        stated(node, keys.DISK),
        tuple(digest for digest, each in beside.items() if is_disk and each in {None, architecture}),
        disks,
    )


def _containers(graph: Graph, root: Digest) -> Iterator[tuple[Digest, str | None]]:
    for entry, node in entries(graph, root):
        if not isinstance(node.parsed, Index):
            known = look_inside(classify(entry), node.parsed)
            if known.role is Role.CONTAINER:
                yield entry.digest, known.architecture
