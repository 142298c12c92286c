"""Referrers where no registry lists them: found by walking what a store holds and reading every ``subject``.

A layout has no referrers list of its own. oras writes a referrer into ``index.json`` without a name and rebuilds the
graph from there; regctl writes the registries' fallback index under the tag ``sha256-<hex>``. Walking entries and
children finds both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout.content import naming
from haulout.errors import ContentError, NotFoundError
from haulout.oci import INDEXES, MANIFESTS, Descriptor, Digest, Index, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from haulout.content.ports import StoredManifest

MAX_DEPTH: Final = 4
"""Deepest nesting of indexes walked; normal ones need two."""
MAX_MANIFESTS: Final = 1 << 18
"""Most manifests read in one walk."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a walk needs to know of one manifest; true for ever, since its digest is."""

    parsed: Manifest | Index
    descriptor: Descriptor
    """As a referrers list gives it (distribution-spec, "Listing Referrers"): with artifact type and annotations."""

    @property
    def subject(self) -> Digest | None:
        """What it is attached to."""
        return self.parsed.subject.digest if self.parsed.subject else None

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """Entries, of an index."""
        return self.parsed.manifests if isinstance(self.parsed, Index) else ()

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers."""
        return () if isinstance(self.parsed, Index) else (self.parsed.config, *self.parsed.layers)


class Subjects:
    """Walks manifests and remembers them, so that the next question costs only what is new.

    Args:
        read: reads one manifest by digest, verified.
    """

    def __init__(self, read: Callable[[Digest], StoredManifest]) -> None:
        self._read = read
        self._known: dict[Digest, Node | None] = {}

    def referrers(
        self, roots: Iterable[Descriptor], subject: Digest, artifact_type: str | None
    ) -> tuple[Descriptor, ...]:
        """Return what points at ``subject``, in the order it is listed, each once.

        Raises:
            ContentError: there are more manifests than :data:`MAX_MANIFESTS`.
        """
        found = {
            node.descriptor.digest: node.descriptor
            for node in self._walk(roots)
            if node.subject == subject and artifact_type in {None, node.descriptor.artifact_type}
        }
        return tuple(found.values())

    def has_subject(self, digest: Digest) -> bool:
        """Whether the manifest is a referrer of something."""
        node = self._node(digest)
        return node is not None and node.subject is not None

    def left_behind(self, before: Index, after: Index) -> set[Digest]:
        """Return the nameless referrers of a layout that were attached to something listed, and no longer are.

        One that was attached to nothing yet is on its way: what it belongs to is tagged after it.

        Raises:
            ContentError: as :meth:`referrers`.
        """
        loose = {entry.digest for entry in after.manifests if self._is_loose(entry)}
        return loose & (self._reached(before) - self._reached(after))

    def _is_loose(self, entry: Descriptor) -> bool:
        return not any(naming.names(entry)) and self.has_subject(entry.digest)

    def _reached(self, index: Index) -> set[Digest]:
        found: set[Digest] = set()
        waiting = {entry.digest: entry for entry in index.manifests if self._is_loose(entry)}
        more = [entry for entry in index.manifests if entry.digest not in waiting]
        while more:
            found.update(entry.digest for entry in more)
            found.update(node.descriptor.digest for node in self._walk(more))
            attached = [digest for digest in waiting if (node := self._node(digest)) and node.subject in found]
            more = [waiting.pop(digest) for digest in attached]
        return found

    def forget(self, digest: Digest) -> None:
        """Forget a manifest that was deleted."""
        self._known.pop(digest, None)

    def _walk(self, roots: Iterable[Descriptor]) -> Iterator[Node]:
        seen: set[Digest] = set()
        level = list(roots)
        for _ in range(MAX_DEPTH):
            below: list[Descriptor] = []
            for entry in level:
                if entry.digest in seen or entry.media_type not in INDEXES | MANIFESTS:
                    continue
                seen.add(entry.digest)
                if len(seen) > MAX_MANIFESTS:
                    raise ContentError(f"more than {MAX_MANIFESTS} manifests to look through for referrers")
                node = self._node(entry.digest)
                if node is not None:
                    yield node
                    below.extend(node.children)
            level = below

    def _node(self, digest: Digest) -> Node | None:
        if digest not in self._known:
            try:
                stored = self._read(digest)
                self._known[digest] = node_of(stored)
            except NotFoundError:
                # A partial copy: an index whose other children were left behind. The manifest may still come.
                return None
            except ContentError:
                # Damaged or foreign: it refers to nothing that can be trusted.
                self._known[digest] = None
        return self._known[digest]


def node_of(stored: StoredManifest) -> Node:
    """Parse a manifest as far as walks need it.

    Raises:
        InvalidManifest: it breaks its schema.
    """
    parsed = stored.parse(str(stored.descriptor.digest))
    kind = parsed.artifact_type if isinstance(parsed, Index) else parsed.effective_artifact_type
    return Node(parsed, replace(stored.descriptor.bare(), artifact_type=kind, annotations=parsed.annotations))
