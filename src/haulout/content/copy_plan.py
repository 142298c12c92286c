"""What a copy takes: every manifest and blob below a reference, and what is attached to them, in the order of writing.

Manifests are read level by level, several at a time; nothing is written, and no blob is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from haulout.content.ports import ManifestReader, ReferrerLister, StoredManifest, TagLister
from haulout.errors import ContentError, DeniedError, NotFoundError, RegistryError, SizeMismatch
from haulout.oci import Descriptor, Digest, Index, Manifest, subject_of_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Executor

    Select = Callable[[Index, ManifestReader], tuple[Descriptor, ...]]
    """Chooses the entries of an index that are copied."""

MAX_DEPTH: Final = 6
"""Deepest chain of indexes and referrers copied."""
MAX_MANIFESTS: Final = 1024
"""Most manifests copied in one call."""
MAX_BYTES: Final = 256 << 20
"""Most bytes of manifests, all of which are held in memory."""


class Catalog(ManifestReader, ReferrerLister, TagLister, Protocol):
    """What is read to plan a copy."""


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What is to be written."""

    root: StoredManifest
    """Written last, under the tag."""
    stages: tuple[tuple[StoredManifest, ...], ...]
    """Manifests by digest: those of one stage need nothing of each other."""
    blobs: tuple[Descriptor, ...]
    """Each once, the largest first."""
    tags: Mapping[str, StoredManifest]
    """Cosign's tags."""
    links: frozenset[tuple[Digest, Digest]]
    """What is attached, as pairs of a subject and a referrer."""
    notes: tuple[str, ...] = ()
    """What stays behind, one line each."""

    @property
    def attached(self) -> int:
        """How many manifests are there because of what they are attached to."""
        return len({referrer for _, referrer in self.links})

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs)

    @property
    def manifests(self) -> int:
        """How many manifests there are, the root included."""
        digests = {stored.descriptor.digest for stage in (*self.stages, self.tags.values()) for stored in stage}
        return len(digests | {self.root.descriptor.digest})


def plan_copy(
    source: Catalog,
    selector: str | Digest,
    pool: Executor,
    *,
    referrers: bool = True,
    select: Select | None = None,
) -> CopyPlan:
    """Find everything that ``selector`` names and needs.

    Args:
        source: where it is.
        selector: tag or digest there.
        pool: threads that read.
        referrers: whether what is attached comes along, at every level: referrers, and what cosign's tags hold.
        select: chooses among the entries of every index; where it leaves any out, the index is written anew, has
            another digest, and what is attached to the old one stays behind.

    Raises:
        NotFoundError: the source lacks the selector, or a part of it.
        ContentError: something is not what it claims to be, or the graph is deeper or larger than the bounds.
    """
    return _Survey(source, pool, referrers=referrers, select=select).plan(selector)


@dataclass(slots=True)
class _Node:
    stored: StoredManifest
    parsed: Manifest | Index
    wanted: tuple[Descriptor, ...] = ()
    attached: list[Digest] = field(default_factory=list)


class _Survey:
    def __init__(self, source: Catalog, pool: Executor, *, referrers: bool, select: Select | None) -> None:
        self._source = source
        self._pool = pool
        self._referrers = referrers
        self._select = select
        self._nodes: dict[Digest, _Node] = {}
        self._bytes = 0
        self._notes: list[str] = []
        self._stages: list[list[StoredManifest]] = []
        self._placed: dict[Digest, tuple[Descriptor, int]] = {}
        self._open: set[Digest] = set()
        self._links: set[tuple[Digest, Digest]] = set()
        self._blobs: dict[Digest, Descriptor] = {}

    def plan(self, selector: str | Digest) -> CopyPlan:
        stored = self._source.manifest(selector)
        self._walk(stored)
        written, _ = self._place(stored.descriptor.digest) or (stored.descriptor, 0)
        root = next(each for stage in self._stages for each in stage if each.descriptor.digest == written.digest)
        tags = self._cosign_tags() if self._referrers else {}
        stages = [tuple(each for each in stage if each is not root) for stage in self._stages]
        if self._nodes[stored.descriptor.digest].attached and root.data is stored.data:
            # What refers to it follows it, and the tag comes last.
            stages = [tuple(stage) for stage in self._stages]
        blobs = tuple(sorted(self._blobs.values(), key=lambda blob: -blob.size))
        return CopyPlan(root, tuple(filter(None, stages)), blobs, tags, frozenset(self._links), tuple(self._notes))

    # Reading

    def _walk(self, root: StoredManifest) -> None:
        level = [self._node(root, root.descriptor)]
        self._keep(level)
        for _ in range(MAX_DEPTH):
            lists = self._pool.map(self._list, level) if self._referrers else ()
            for node, found in zip(level, lists, strict=False):
                node.attached = [entry.digest for entry in found]
            below = {entry.digest: entry for node in level for entry in node.wanted}
            referrers = {digest: None for node in level for digest in node.attached if digest not in below}
            fresh = [entry for digest, entry in below.items() if digest not in self._nodes]
            loose = [digest for digest in referrers if digest not in self._nodes]
            self._check_number(len(fresh) + len(loose))
            level = [*self._pool.map(self._child, fresh), *filter(None, self._pool.map(self._referrer, loose))]
            self._keep(level)
            if not level:
                return
        raise ContentError(f"manifest {root.descriptor.digest} leads more than {MAX_DEPTH} levels deep")

    def _keep(self, level: Iterable[_Node]) -> None:
        for node in level:
            self._nodes[node.stored.descriptor.digest] = node
            self._bytes += len(node.stored.data)
        if self._bytes > MAX_BYTES:
            raise ContentError(f"more than {MAX_BYTES} bytes of manifests to copy")

    def _check_number(self, more: int) -> None:
        if len(self._nodes) + more > MAX_MANIFESTS:
            raise ContentError(f"more than {MAX_MANIFESTS} manifests to copy")

    def _child(self, entry: Descriptor) -> _Node:
        stored = self._source.manifest(entry.digest)
        if stored.descriptor.size != entry.size:
            raise SizeMismatch(f"manifest {entry.digest}", entry.size, stored.descriptor.size)
        return self._node(stored, entry)

    def _referrer(self, digest: Digest) -> _Node | None:
        try:
            stored = self._source.manifest(digest)
            return self._node(stored, stored.descriptor)
        except (NotFoundError, ContentError) as error:
            # Lists of referrers are kept by whoever writes them; a line may outlive its manifest.
            self._notes.append(f"left behind, though it is listed as attached: {error}")
            return None

    def _node(self, stored: StoredManifest, entry: Descriptor) -> _Node:
        parsed = replace(stored, descriptor=entry).parse(f"manifest {entry.digest}")
        if isinstance(parsed, Manifest):
            return _Node(stored, parsed)
        wanted = parsed.manifests if self._select is None else self._select(parsed, self._source)
        return _Node(stored, parsed, wanted)

    def _list(self, node: _Node) -> tuple[Descriptor, ...]:
        return self._source.referrers(node.stored.descriptor.digest)

    # Ordering

    def _place(self, digest: Digest, least: int = 0) -> tuple[Descriptor, int] | None:
        """Give a manifest its stage, after what it needs; return it as it is written, and the last stage below it."""
        if digest in self._placed:
            return self._placed[digest]
        node = self._nodes.get(digest)
        if node is None or digest in self._open:
            return None
        self._open.add(digest)
        stored, stage = node.stored, least
        if isinstance(node.parsed, Index):
            entries = []
            for entry in node.wanted:
                placed = self._place(entry.digest, least)
                stage = max(stage, placed[1] + 1 if placed else least)
                # A nested index that lost entries has another digest; its place and annotations stay.
                entries.append(replace(entry, digest=placed[0].digest, size=placed[0].size) if placed else entry)
            if tuple(entries) != node.parsed.manifests:
                data = replace(node.parsed, manifests=tuple(entries)).to_bytes()
                stored = StoredManifest(Descriptor.of(node.parsed.media_type, data), data)
        else:
            for blob in (node.parsed.config, *node.parsed.layers):
                self._blobs.setdefault(blob.digest, blob)
        self._stages += [[] for _ in range(stage + 1 - len(self._stages))]
        self._stages[stage].append(stored)
        last = self._place_attached(node, stored, stage)
        self._placed[digest] = stored.descriptor, last
        return self._placed[digest]

    def _place_attached(self, node: _Node, stored: StoredManifest, stage: int) -> int:
        subject = node.stored.descriptor.digest
        if node.attached and stored is not node.stored:
            self._notes.append(
                f"{len(node.attached)} attached to the index {subject.short} stay behind: "
                f"without the entries that were not chosen it is another index, {stored.descriptor.digest.short}"
            )
            return stage
        last = stage
        for digest in node.attached:
            known = self._nodes.get(digest)
            if known is None or known.parsed.subject is None or known.parsed.subject.digest != subject:
                continue
            placed = self._place(digest, stage + 1)
            if placed is not None:
                self._links.add((subject, digest))
                last = max(last, placed[1])
        return last

    # Signatures

    def _cosign_tags(self) -> dict[str, StoredManifest]:
        # Those of cosign before version 3, which Podman and skopeo read: sha256-HEX.sig, .att, .sbom.
        written = {stored.descriptor.digest for stage in self._stages for stored in stage}
        try:
            tags = [tag for tag in self._source.tags("sha256-") if "." in tag and subject_of_tag(tag) in written]
        except (NotFoundError, DeniedError, RegistryError) as error:
            self._notes.append(f"tags of cosign signatures cannot be looked for: {error}")
            return {}
        self._check_number(len(tags))
        read = dict(zip(tags, self._pool.map(self._source.manifest, tags), strict=True))
        for tag, stored in tuple(read.items()):
            parsed = stored.parse(f"manifest {stored.descriptor.digest}")
            if isinstance(parsed, Manifest):
                for blob in (parsed.config, *parsed.layers):
                    self._blobs.setdefault(blob.digest, blob)
            else:
                del read[tag]
        return read
