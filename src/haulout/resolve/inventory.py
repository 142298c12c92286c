"""The inventory of a reference: the whole tree of what is there; oddities become notes, not errors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from haulout.content import ManifestReader, ReferrerLister, StoredManifest
from haulout.documents import Document
from haulout.errors import ContentError, NotFoundError, SizeMismatch
from haulout.oci import Architecture, Descriptor, Digest, Index, Manifest, Reference, parse_any
from haulout.oci import annotations as keys
from haulout.resolve.query import CONTAINER_DISK
from haulout.resolve.recognise import Role, architecture_of, classify, look_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_ITEMS: Final = 512
"""Most manifests shown."""
MAX_NESTING: Final = 6
"""Deepest chain of indexes and referrers followed."""
MAX_REFERRERS: Final = 64
"""Most referrers of one manifest shown."""


class Source(ManifestReader, ReferrerLister, Protocol):
    """What an inventory needs of a store."""


@dataclass(frozen=True, slots=True)
class Item:
    """One manifest or index of the tree."""

    json_members: ClassVar = (
        *("role", "manifest=descriptor.digest", "media_type=descriptor.media_type", "platform", "architecture"),
        *("disk_type", "artifact_type", "size", "annotations", "entry_annotations=descriptor.annotations"),
        *("layers", "children", "referrers", "notes"),
    )

    descriptor: Descriptor
    """As its parent gives it: with platform and the entry's annotations."""
    role: Role
    architecture: Architecture | None
    disk_type: str | None
    artifact_type: str | None = None
    """Of the manifest, else the media type of its config; None where it was not read."""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The manifest's own."""
    layers: tuple[Descriptor, ...] = ()
    children: tuple[Item, ...] = ()
    """Entries, of an index."""
    referrers: tuple[Item, ...] = ()
    """What is attached by ``subject``."""
    notes: tuple[str, ...] = ()
    """What is odd about it, one line each."""

    @property
    def platform(self) -> dict[str, Any] | None:
        """The entry's platform, with every field it has."""
        return None if self.descriptor.platform is None else self.descriptor.platform.to_json()

    @property
    def size(self) -> int:
        """Bytes of the layers; for an index, of all its entries."""
        return sum(layer.size for layer in self.layers) + sum(child.size for child in self.children)

    def walk(self) -> Iterator[Item]:
        """Yield this item and everything below it, parents first."""
        yield self
        for item in (*self.children, *self.referrers):
            yield from item.walk()


@dataclass(frozen=True, slots=True)
class Inventory(Document):
    """What one reference holds."""

    json_members: ClassVar = ("kind", "reference", "pinned", "shape", "disks=_disk_list", "root")
    kind: ClassVar = "reference"

    reference: Reference
    pinned: Reference
    shape: str
    """``index``, ``referrers``, ``single`` or ``container-disk``: how it leads to a disk. ``container``
    and ``workload`` (a confidential one) if it does not, and ``empty`` where there is nothing that could be one."""
    root: Item

    @property
    def disks(self) -> tuple[Item, ...]:
        """Every disk in the tree, in its order."""
        return tuple(item for item in self.root.walk() if item.role is Role.DISK)

    @property
    def _disk_list(self) -> list[dict[str, Any]]:
        return [
            {
                "architecture": disk.architecture,
                "disk_type": disk.disk_type,
                "manifest": disk.descriptor.digest,
                "size": disk.size,
            }
            for disk in self.disks
        ]


def looked_into(held: Inventory, holds: Callable[[Item], str]) -> Inventory:
    """Return an inventory in which container images are what they hold; unchanged where there are disks besides.

    Args:
        held: of a reference.
        holds: returns ``disk``, ``workload`` or anything else for a container image.
    """
    if held.shape != "container":
        return held
    found: set[str] = set()

    def look(item: Item) -> Item:
        below = replace(item, children=tuple(map(look, item.children)))
        if item.role is not Role.CONTAINER:
            return below
        kind = "workload" if keys.WORKLOAD in item.annotations else holds(item)
        found.add(kind)
        if kind == "disk":
            return replace(below, role=Role.DISK, disk_type=item.disk_type or CONTAINER_DISK)
        return below

    root = look(held.root)
    shape = "container-disk" if "disk" in found else "workload" if "workload" in found else held.shape
    return replace(held, root=root, shape=shape)


def inventory(store: Source, reference: Reference) -> Inventory:
    """Read the whole tree of a reference. Only the reference itself must be in order; the rest is noted.

    Raises:
        NotFoundError: no such reference.
        ContentError: what it names is not a manifest or index.
    """
    root = store.manifest(reference.selector)
    parsed = root.parse(str(reference))
    item = _Walk(store).item(root.descriptor, None, MAX_NESTING, (root, parsed))
    return Inventory(reference, reference.at(root.descriptor.digest), _shape(item), item)


class _Walk:
    def __init__(self, store: Source) -> None:
        self._store = store
        self._shown = 0
        self._open: set[Digest] = set()

    def item(
        self,
        entry: Descriptor,
        inherited: Architecture | None,
        depth: int,
        read: tuple[StoredManifest, Manifest | Index] | None = None,
    ) -> Item:
        candidate = classify(entry, inherited)
        bare = Item(entry, candidate.role, candidate.architecture, candidate.disk_type, entry.artifact_type)
        self._shown += 1
        if self._shown > MAX_ITEMS or depth == 0 or entry.digest in self._open:
            return replace(bare, notes=("not looked into: the tree is too large, too deep or circular",))
        try:
            _, parsed = read or self._fetch(entry)
        except (NotFoundError, ContentError) as exc:
            return replace(bare, notes=(str(exc),))
        self._open.add(entry.digest)
        try:
            return self._filled(bare, parsed, depth)
        finally:
            self._open.discard(entry.digest)

    def _fetch(self, entry: Descriptor) -> tuple[StoredManifest, Manifest | Index]:
        what = f"manifest {entry.digest}"
        stored = self._store.manifest(entry.digest)
        if stored.descriptor.size != entry.size:
            raise SizeMismatch(what, entry.size, stored.descriptor.size)
        return stored, parse_any(stored.data, what, entry.media_type)

    def _filled(self, bare: Item, parsed: Manifest | Index, depth: int) -> Item:
        notes: list[str] = []
        referrers = self._referrers(bare, depth, notes)
        if isinstance(parsed, Index):
            children = tuple(self.item(entry, bare.architecture, depth - 1) for entry in self._some(parsed, notes))
            filled = replace(bare, role=Role.INDEX, artifact_type=parsed.artifact_type, children=children)
            return replace(filled, annotations=parsed.annotations, referrers=referrers, notes=tuple(notes))
        # With the manifest at hand, what the descriptor of a root or a bare entry left open is settled.
        known = look_inside(classify(bare.descriptor, bare.architecture), parsed)
        architecture = known.architecture or next(filter(None, map(architecture_of, parsed.layers)), None)
        kind = parsed.effective_artifact_type
        filled = Item(
            bare.descriptor, known.role, architecture, known.disk_type, kind, parsed.annotations, parsed.layers
        )
        return replace(filled, referrers=referrers, notes=tuple(notes))

    def _some(self, index: Index, notes: list[str]) -> tuple[Descriptor, ...]:
        room = max(0, MAX_ITEMS - self._shown)
        if len(index.manifests) > room:
            notes.append(f"{len(index.manifests) - room} more entries are not shown")
        return index.manifests[:room]

    def _referrers(self, bare: Item, depth: int, notes: list[str]) -> tuple[Item, ...]:
        try:
            found = self._store.referrers(bare.descriptor.digest)
        except (NotFoundError, ContentError) as exc:
            notes.append(f"its referrers cannot be listed: {exc}")
            return ()
        if len(found) > MAX_REFERRERS:
            notes.append(f"{len(found) - MAX_REFERRERS} more referrers are not shown")
        return tuple(self.item(entry, bare.architecture, depth - 1) for entry in found[:MAX_REFERRERS])


def _shape(root: Item) -> str:
    if root.role is not Role.INDEX:
        attached = any(item.role is Role.DISK for item in root.referrers)
        if root.role is Role.CONTAINER:
            return "referrers" if attached else "container"
        return "single" if root.role is Role.DISK or root.layers else "empty"
    entries = [item for item in _entries(root) if item.role is not Role.INDEX]
    if any(item.role is Role.DISK for item in entries):
        return "index"
    if any(below.role is Role.DISK for item in (root, *entries) for below in item.referrers):
        return "referrers"
    return "container" if any(item.role is Role.CONTAINER for item in entries) else "empty"


def _entries(item: Item) -> Iterator[Item]:
    for child in item.children:
        yield child
        yield from _entries(child)
