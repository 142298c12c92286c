"""Publishing: what a push makes of the index behind a tag.

Every disk entry has a key and is there once; its tables (table of contents, hints, small frames) are a child of the
same index, so that a plain copy of the tag takes them along and a collection of garbage does not.
docs/formats/registry.md gives the form; :class:`haulout.content.SharedIndex` saves other publishers' entries.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from haulout.content import SharedIndex, TaggedIndex
from haulout.errors import ContentError, InvalidDigest, NotFoundError, UsageError
from haulout.oci import Descriptor, Digest, Index, Manifest, Platform, mediatype
from haulout.oci import annotations as keys
from haulout.resolve import canonical_type, classify, look_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from haulout.content import Store, StoredManifest
    from haulout.oci import Architecture
    from haulout.progress import Progress

_MAX_UNLABELLED: Final = 64
_NOWHERE: Final = Platform("unknown", "unknown")
"""The platform of children that no client is to choose, as BuildKit gives its attestations."""

Key = tuple[str, str, str]


def tables_entry(described: Descriptor, disk: Digest) -> Descriptor:
    """Return the index entry for the tables of the disk whose manifest is ``disk``."""
    # No artifact type: c/image before 5.25 (skopeo 1.9) does not know the member, and writes the index anew without it.
    stated = {keys.REFERENCE_DIGEST: str(disk), keys.REFERENCE_TYPE: keys.TABLES}
    return replace(described.bare(), annotations=stated, platform=_NOWHERE)


def tables_of(entry: Descriptor) -> Digest | None:
    """Return the manifest of the disk whose tables an index entry is; None for any other entry."""
    if entry.annotations.get(keys.REFERENCE_TYPE) != keys.TABLES:
        return None
    try:
        return Digest.parse(entry.annotations.get(keys.REFERENCE_DIGEST, ""))
    except InvalidDigest:
        return None


def entry_key(entry: Descriptor) -> Key | None:
    """Return what makes a disk entry unique in its index: operating system, architecture and disk type."""
    disk_type = entry.annotations.get(keys.DISKTYPE)
    if disk_type is None or entry.platform is None:
        return None
    known = entry.platform.known_architecture
    return entry.platform.os, known.value if known else entry.platform.architecture, canonical_type(disk_type)


def entry_of(index: Index, architecture: Architecture, disk_type: str) -> Descriptor | None:
    """Return the entry of an architecture and disk type, None where there is none."""
    key = ("linux", architecture.value, canonical_type(disk_type))
    return next((entry for entry in index.manifests if entry_key(entry) == key), None)


def merge(
    index: Index | None,
    entries: Sequence[Descriptor],
    key_of: Callable[[Descriptor], Key | None] = entry_key,
    disk_of: Callable[[Descriptor], Digest | None] = tables_of,
) -> Index:
    """Return ``index`` with ``entries`` in it: disks in the place of those of the same key, else behind them. Pure.

    Tables come last, and go with their disk. Everything else stays as it is, in its order.

    Args:
        index: as it is; None where there is none yet.
        entries: disk entries, and those of their tables.
        key_of: returns the key of a disk entry.
        disk_of: returns which disk an entry is the tables of.
    """
    index = Index(()) if index is None else index
    tables = {disk: entry for entry in index.manifests if (disk := disk_of(entry)) is not None}
    before = [entry for entry in index.manifests if disk_of(entry) is None]
    manifests = list(before)
    for entry in entries:
        disk = disk_of(entry)
        if disk is not None:
            tables[disk] = entry
            continue
        key = entry_key(entry)
        places = [number for number, other in enumerate(manifests) if key_of(other) == key]
        if places:
            manifests[places[0]] = entry
            for number in reversed(places[1:]):
                del manifests[number]
        else:
            manifests.append(entry)
    there = {entry.digest for entry in manifests}
    kept = [entry for disk, entry in tables.items() if disk in there]
    if manifests == before and kept == [entry for entry in index.manifests if disk_of(entry) is not None]:
        # Another tool may have given them another order, which says nothing.
        return replace(index, media_type=mediatype.OCI_INDEX)
    return replace(index, manifests=(*manifests, *kept), media_type=mediatype.OCI_INDEX)


def read_index(store: Store, tag: str) -> TaggedIndex | None:
    """Return the index behind ``tag``, or None where there is nothing yet.

    Raises:
        UsageError: the tag holds something that is not an index.
    """
    try:
        return tagged_index(store.manifest(tag), tag)
    except NotFoundError:
        return None


def tagged_index(stored: StoredManifest, tag: str) -> TaggedIndex:
    """Parse what was read of ``tag``; raises as :func:`read_index`."""
    parsed = stored.parse(f"tag {tag}")
    if isinstance(parsed, Manifest):
        what = "container image" if parsed.is_container else "artifact"
        raise UsageError(
            f"the tag {tag} holds a single {what}, not an index that disks could be added to",
            hint=f"push to another tag, or make it an index first: podman manifest create "
            f"list docker://REPO:{tag} && podman manifest push --all list docker://REPO:{tag}",
        )
    return TaggedIndex(stored.descriptor.digest, parsed)


def publish(
    store: Store,
    tag: str,
    entries: Sequence[Descriptor],
    progress: Progress,
    known: TaggedIndex | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Digest:
    """Add ``entries`` to the index behind ``tag``, creating it where there is none.

    Args:
        store: their manifests are in it already.
        tag: what people will ask for.
        entries: disks, with platform and ``disktype``, and their tables.
        progress: receives a note where publishers cannot see one another.
        known: the index as the caller has read it. If all entries are in it, nothing is written: the push counts as
            done at that moment, and what others wrote later stays.
        annotations: of the index. Where another publisher writes others at the same time, the last one counts.

    Returns:
        The digest of an index that holds them all.

    Raises:
        UsageError: the tag holds something that is not an index.
        ConflictError: other publishers kept changing the index for too long.
    """
    labels = _Labels(store)

    asked = dict(annotations or {})

    def merged(index: Index | None, more: Sequence[Descriptor]) -> Index:
        made = merge(index, more, labels.key, labels.disk_of)
        return replace(made, annotations={**made.annotations, **asked})

    def merged_once(index: Index | None, more: Sequence[Descriptor]) -> Index:
        # Written once: two publishers of different values would undo one another for ever.
        try:
            return merged(index, more)
        finally:
            asked.clear()

    if known is not None and merged(known.index, entries) == known.index:
        return known.digest
    shared = SharedIndex(
        store, tag, parse=lambda stored: tagged_index(stored, tag).index, merge=merged_once, note=progress.note
    )
    with store.exclusive() as alone:
        if alone:
            return shared.write(entries).digest
    return shared.add(entries)


class _Labels:
    """Finds what entries are, also those that lost their annotations.

    Podman 4 and its buildah drop the annotations of entries that they copy into a list of their own. Such an entry is
    still a disk to a client that looks into its manifest, and comes first: a new disk beside it would never be found.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[Digest, Manifest | None] = {}

    def key(self, entry: Descriptor) -> Key | None:
        """Return the key of a disk entry."""
        key = entry_key(entry)
        if key is not None or entry.is_index or entry.platform is None or not entry.platform.is_kernel_named:
            return key
        manifest = self._manifest(entry)
        disk_type = None if manifest is None else look_inside(classify(entry), manifest).disk_type
        return None if disk_type is None else (entry.platform.os, entry.platform.architecture, disk_type)

    def disk_of(self, entry: Descriptor) -> Digest | None:
        """Return which disk an entry is the tables of."""
        if entry.annotations or entry.platform != _NOWHERE or entry.is_index:
            return tables_of(entry)
        manifest = self._manifest(entry)
        if manifest is None or manifest.artifact_type != mediatype.TOC_ARTIFACT:
            return None
        return tables_of(replace(entry, annotations=manifest.annotations))

    def _manifest(self, entry: Descriptor) -> Manifest | None:
        if entry.digest not in self._read and len(self._read) < _MAX_UNLABELLED:
            try:
                parsed = self._store.manifest(entry.digest).parse(f"manifest {entry.digest.short}")
            except (ContentError, NotFoundError):
                parsed = None
            self._read[entry.digest] = parsed if isinstance(parsed, Manifest) else None
        return self._read.get(entry.digest)
