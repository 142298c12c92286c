"""Collecting the garbage of an image layout: entries go in one step, then the blobs that nothing needs any more.

Killed at any moment, it leaves a valid layout: ``index.json`` is replaced first, and blobs that it does not reach are
removed by the next collection. A store that is open for writing holds the file ``oci-layout`` together with others, the
collector holds it alone, so that no blob goes that a push has found there. Other tools hold nothing: a blob that no
manifest ever needed stays for an hour.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout.content import naming
from haulout.content.folder import Folder
from haulout.content.graph import Graph, read_graph
from haulout.content.layout import LAYOUT_FILE
from haulout.errors import ContentError
from haulout.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from haulout.content.layout import LayoutStore
    from haulout.oci import Index

GRACE: Final = 3600.0
"""Seconds for which a blob stays that another tool may be about to use."""
_PATIENCE: Final = 60.0
_BLOB: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed."""

    blobs: int
    size: int
    """Bytes."""


def collect(
    store: LayoutStore,
    tags: Mapping[str, Digest],
    going: Collection[Digest],
    *,
    untagged: bool = False,
    patience: float = _PATIENCE,
) -> Collected:
    """Remove tags, and all blobs that nothing needs then.

    Args:
        store: the layout; not held open for writing.
        tags: those that go, unless they have moved away from these manifests since.
        going: manifests that go unless something needs them still, and their blobs.
        untagged: whether entries without a name go as well, unless a tag needs them.
        patience: how many seconds to wait for those who write.

    Raises:
        ConflictError: a push goes on.
        ContentError: it cannot be said what an entry needs. Nothing was removed.
        StorageError: the file system refuses.
    """
    with ExitStack() as stack:
        root = Folder.open(store.directory)
        stack.callback(root.close)
        held = root.hold(LAYOUT_FILE, patience, shared=False)
        assert held is not None
        stack.callback(os.close, held)
        stack.enter_context(store.exclusive())
        before = store.entries()
        index = _without_tags(before, tags, going)
        graph = read_graph(store, [entry.digest for entry in before.manifests], referrers=False)
        graph.link_subjects()
        index, needed = _needed(index, graph, going, untagged=untagged)
        if index != before:
            store.relist(index)
        parent = root.child("blobs", create=False)
        if parent is None:
            return Collected(0, 0)
        stack.callback(parent.close)
        blobs = parent.child("sha256", create=False)
        if blobs is None:
            return Collected(0, 0)
        stack.callback(blobs.close)
        return _sweep(blobs, needed, going)


def _without_tags(index: Index, tags: Mapping[str, Digest], going: Collection[Digest]) -> Index:
    for tag, digest in tags.items():
        entry = naming.find(index, tag, "the layout")
        if entry is not None and entry.digest == digest:
            keep = frozenset(() if digest in going else (digest,))
            index = naming.without_tag(index, tag, entry, keep)
    return index


def _needed(index: Index, graph: Graph, going: Collection[Digest], *, untagged: bool) -> tuple[Index, set[Digest]]:
    """Decide which entries stay, and all that they need. Pure."""
    graph.tags = {tag: entry.digest for tag in naming.tags(index) if (entry := naming.find(index, tag, "the layout"))}
    named = {entry.digest for entry in index.manifests if any(naming.names(entry))}
    loose = {entry.digest for entry in index.manifests} - named
    roots = named if untagged else named | (loose - frozenset(going))
    needed = set(graph.reach(roots))
    for name, error in graph.unreadable.items():
        if name in needed or name in roots:
            raise ContentError(f"it cannot be said what {name} needs, so nothing is deleted: {error}")
    stay = tuple(entry for entry in index.manifests if entry.digest in roots or entry.digest in needed)
    return replace(index, manifests=stay), needed | roots


def _sweep(blobs: Folder, needed: Collection[Digest], going: Collection[Digest]) -> Collected:
    blobs.sweep()
    count = size = 0
    oldest = time.time() - GRACE
    for name in sorted(blobs.names()):
        if _BLOB.fullmatch(name) is None or (digest := Digest(name)) in needed:
            continue
        if digest in going or blobs.modified(name) < oldest:
            size += blobs.size(name) or 0
            blobs.remove(name)
            count += 1
    return Collected(count, size)
