"""What tags reach in one place: manifests, their parts, and what is attached to them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from haulout.content.ports import ManifestReader, ReferrerLister
from haulout.content.subjects import MAX_MANIFESTS, Node, node_of
from haulout.errors import ContentError, NotFoundError
from haulout.oci import INDEXES, MANIFESTS, Digest, subject_of_tag
from haulout.progress import NullProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_JOBS: Final = 8
"""Requests under way at a time."""

_MAX_DEPTH: Final = 24
"""Levels of indexes and referrers."""


class Source(ManifestReader, ReferrerLister, Protocol):
    """What is walked."""


@dataclass(slots=True)
class Graph:
    """What some tags and digests of one place lead to."""

    tags: dict[str, Digest] = field(default_factory=dict)
    nodes: dict[Digest, Node] = field(default_factory=dict)
    referrers: dict[Digest, tuple[Digest, ...]] = field(default_factory=dict)
    """What is attached by ``subject``."""
    unreadable: dict[str | Digest, ContentError] = field(default_factory=dict)
    """Tags and manifests of which it cannot be said what they reach."""

    def tags_of(self, digest: Digest) -> tuple[str, ...]:
        """Return the tags that name a manifest."""
        return tuple(tag for tag, named in self.tags.items() if named == digest)

    def attached(self) -> dict[Digest, tuple[str, ...]]:
        """Return the tags that hold what is attached to a manifest: fallback lists, cosign's signatures."""
        found: dict[Digest, tuple[str, ...]] = {}
        for tag in self.tags:
            if (subject := subject_of_tag(tag)) is not None:
                found[subject] = (*found.get(subject, ()), tag)
        return found

    def link_subjects(self) -> None:
        """Take the referrers from the manifests that were read: in a layout, all are."""
        linked: dict[Digest, tuple[Digest, ...]] = {}
        for digest, node in self.nodes.items():
            if node.subject is not None:
                linked[node.subject] = (*linked.get(node.subject, ()), digest)
        self.referrers = linked

    def reach(
        self, roots: Iterable[Digest], *, attached: bool = True, without: frozenset[Digest] = frozenset()
    ) -> dict[Digest, int]:
        """Return everything that must stay for ``roots`` to be whole, manifests and blobs, with their sizes.

        A manifest comes before what only it leads to.

        Args:
            roots: where to begin.
            attached: whether referrers, and theirs, belong to it.
            without: manifests that are taken for missing.
        """
        by_tag = self.attached() if attached else {}
        found: dict[Digest, int] = {}
        todo = list(roots)
        while todo:
            digest = todo.pop()
            node = self.nodes.get(digest)
            if node is None or digest in found or digest in without:
                continue
            found[digest] = node.descriptor.size
            for part in (*node.blobs, *node.children):
                if part.digest in self.nodes:
                    todo.append(part.digest)
                elif part.digest not in without:
                    found[part.digest] = part.size
            if attached:
                todo += self.referrers.get(digest, ())
                todo += (self.tags[tag] for tag in by_tag.get(digest, ()))
        return found


def read_graph(
    store: Source,
    roots: Iterable[str | Digest],
    *,
    referrers: bool = True,
    progress: Progress | None = None,
) -> Graph:
    """Read what ``roots`` lead to, several manifests at a time. What is missing is left out.

    Args:
        store: where; safe to use from several threads.
        roots: tags and digests.
        referrers: whether what is attached is looked for, and what is attached to that.
        progress: receives the work.

    Raises:
        ContentError: there are more manifests than :data:`~haulout.content.subjects.MAX_MANIFESTS`.
        HauloutError: as reading manifests and listing referrers do.
    """
    graph = Graph()
    selectors = list(dict.fromkeys(roots))
    seen: set[str | Digest] = set(selectors)
    with (
        ThreadPoolExecutor(_JOBS, "graph") as pool,
        (progress or NullProgress()).task("reading manifests", None, unit="") as task,
    ):
        depth = 0
        while selectors:
            depth += 1
            below: list[Digest] = []
            for selector, node in zip(selectors, pool.map(lambda each: _read(store, each), selectors), strict=True):
                task.advance(1)
                if isinstance(node, ContentError):
                    graph.unreadable[selector] = node
                elif node is not None:
                    if isinstance(selector, str):
                        graph.tags[selector] = node.descriptor.digest
                    graph.nodes[node.descriptor.digest] = node
                    seen.add(node.descriptor.digest)
                    below += (e.digest for e in node.children if e.media_type in INDEXES | MANIFESTS)
            if referrers:
                below += _attach(graph, store, pool)
            selectors = [digest for digest in dict.fromkeys(below) if digest not in seen]
            seen.update(selectors)
            if len(seen) > MAX_MANIFESTS or depth > _MAX_DEPTH:
                raise ContentError(f"more than {MAX_MANIFESTS} manifests, or {_MAX_DEPTH} levels, to look through")
    return graph


def _read(store: Source, selector: str | Digest) -> Node | ContentError | None:
    try:
        return node_of(store.manifest(selector))
    except NotFoundError:
        return None
    except ContentError as error:
        return error


def _attach(graph: Graph, store: Source, pool: ThreadPoolExecutor) -> Iterator[Digest]:
    fresh = [digest for digest in graph.nodes if digest not in graph.referrers]
    for digest, found in zip(fresh, pool.map(store.referrers, fresh), strict=True):
        graph.referrers[digest] = tuple(entry.digest for entry in found)
        yield from graph.referrers[digest]
