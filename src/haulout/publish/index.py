"""Publishing: changing the index behind a tag so that no publisher loses another's entry.

A layout has a lock. A registry has neither locks nor conditional writes, so publishers help one another: each first
writes its entry as an *intent* under a tag of its own, then reads, merges and writes the index, and then looks at the
intents again. It is done only when the index holds every recent intent. The last writer of the index has looked at
the intents afterwards, and every intent that was there by then is in it; every later one has an owner that will write
again.
docs/formats/registry.md gives the tags; docs/adr/0004 the options rejected.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from haulout.errors import ConflictError, ContentError, DeniedError, NotFoundError, RegistryError, UsageError
from haulout.oci import EMPTY, Descriptor, Digest, Index, Manifest, json, mediatype
from haulout.oci import annotations as keys
from haulout.publish.manifests import put_artifact, put_manifest
from haulout.resolve import canonical_type, classify, look_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from haulout.content import Store, StoredManifest
    from haulout.oci import Architecture
    from haulout.progress import Progress

INTENT_LIFE: Final = timedelta(minutes=10)
"""How long an intent asks to be merged. Publishing takes seconds; later, a missing entry was taken out on purpose."""

_ROUNDS: Final = 40
_MAX_INTENTS: Final = 256
_MAX_UNLABELLED: Final = 64

Key = tuple[str, str, str]


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
    index: Index | None, entries: Sequence[Descriptor], key_of: Callable[[Descriptor], Key | None] = entry_key
) -> Index:
    """Return ``index`` with ``entries`` in it: in the place of entries of the same key, else at the end. Pure.

    Everything else stays as it is, in its order.

    Args:
        index: as it is; None where there is none yet.
        entries: disk entries.
        key_of: returns the key of an entry of the index.
    """
    if index is None:
        index = Index(())
    manifests = list(index.manifests)
    for entry in entries:
        key = entry_key(entry)
        places = [number for number, other in enumerate(manifests) if key_of(other) == key]
        if places:
            manifests[places[0]] = entry
            for number in reversed(places[1:]):
                del manifests[number]
        else:
            manifests.append(entry)
    return replace(index, manifests=tuple(manifests), media_type=mediatype.OCI_INDEX)


@dataclass(frozen=True, slots=True)
class TaggedIndex:
    """The index that a tag held when it was read."""

    digest: Digest
    index: Index


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
    store: Store, tag: str, entries: Sequence[Descriptor], progress: Progress, known: TaggedIndex | None = None
) -> Digest:
    """Add disk ``entries`` to the index behind ``tag``, creating it where there is none.

    Args:
        store: their manifests are in it already.
        tag: what people will ask for.
        entries: descriptors with platform and ``disktype``.
        progress: receives a note where publishers cannot see one another.
        known: the index as the caller has read it. If all entries are in it, nothing is written: the push counts as
            done at that moment, and what others wrote later stays.

    Returns:
        The digest of the index that holds them all.

    Raises:
        UsageError: the tag holds something that is not an index.
        ConflictError: other publishers kept changing the index for too long.
    """
    labels = _Labels(store)
    if known is not None and merge(known.index, entries, labels.key) == known.index:
        return known.digest
    with store.exclusive() as alone:
        if alone:
            return _write(store, tag, read_index(store, tag), entries, labels)
    for entry in entries:
        _announce(store, tag, entry)
    return _converge(store, tag, entries, labels, progress)


class _Labels:
    """Finds the keys of entries, also of those that lost their ``disktype``.

    Podman 4 and its buildah drop the annotations of entries that they copy into a list of their own. Such an entry is
    still a disk to a client that looks into its manifest, and comes first: a new disk beside it would never be found.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._types: dict[Digest, str | None] = {}

    def key(self, entry: Descriptor) -> Key | None:
        key = entry_key(entry)
        if key is not None or entry.is_index or entry.platform is None or not entry.platform.is_kernel_named:
            return key
        if entry.digest not in self._types and len(self._types) < _MAX_UNLABELLED:
            self._types[entry.digest] = self._read(entry)
        disk_type = self._types.get(entry.digest)
        return None if disk_type is None else (entry.platform.os, entry.platform.architecture, disk_type)

    def _read(self, entry: Descriptor) -> str | None:
        try:
            manifest = self._store.manifest(entry.digest).parse(f"manifest {entry.digest.short}")
        except (ContentError, NotFoundError):
            return None
        return look_inside(classify(entry), manifest).disk_type if isinstance(manifest, Manifest) else None


@dataclass(frozen=True, slots=True)
class _Intent:
    entry: Descriptor
    created: datetime


def _write(store: Store, tag: str, now: TaggedIndex | None, entries: Sequence[Descriptor], labels: _Labels) -> Digest:
    merged = merge(None if now is None else now.index, entries, labels.key)
    if now is not None and merged == now.index:
        return now.digest
    return put_manifest(store, merged.to_bytes(), merged.media_type, tag).digest


def _converge(store: Store, tag: str, ours: Sequence[Descriptor], labels: _Labels, progress: Progress) -> Digest:
    # Our own announcements were written a moment ago: what may have replaced them is seen after the write.
    intents = _intents(store, tag, ours, progress, but=[_intent_tag(tag, entry) for entry in ours])
    for attempt in range(_ROUNDS):
        _write(store, tag, read_index(store, tag), intents, labels)
        intents = _intents(store, tag, ours, progress)
        now = read_index(store, tag)
        if now is not None and merge(now.index, intents, labels.key) == now.index:
            return now.digest
        time.sleep(random.uniform(0, min(0.05 * 2**attempt, 2.0)))  # noqa: S311 - jitter, not a secret
    raise ConflictError(
        f"other publishers kept changing the tag {tag}", hint="push again when they are done; nothing is uploaded twice"
    )


def _intents(
    store: Store, tag: str, ours: Sequence[Descriptor], progress: Progress, *, but: Sequence[str] = ()
) -> list[Descriptor]:
    """Return the entries to be in the index: what all publishers have announced lately, ours among them.

    Announcements under the tags ``but`` are not read.
    """
    found: dict[Key | None, Descriptor] = {entry_key(entry): entry for entry in ours}
    oldest = datetime.now(UTC) - INTENT_LIFE
    try:
        names = [name for name, _ in zip(store.tags(_prefix(tag)), range(_MAX_INTENTS), strict=False)]
    except (RegistryError, DeniedError, NotFoundError) as exc:
        progress.note(f"other publishers of this tag cannot be seen ({exc}); push one at a time")
        names = []
    for name in names:
        intent = None if name in but else _read_intent(store, name, tag)
        if intent is not None and intent.created > oldest:
            # For one key the latest announcement counts, also over our own: its owner came after us.
            found[entry_key(intent.entry)] = intent.entry
    return list(found.values())


def _announce(store: Store, tag: str, entry: Descriptor) -> None:
    put_artifact(
        store,
        (EMPTY,),
        mediatype.INTENT_ARTIFACT,
        annotations={
            keys.CREATED: datetime.now(UTC).isoformat(timespec="microseconds"),
            keys.INTENT_TAG: tag,
            keys.INTENT_ENTRY: json.dumps(entry.to_json()).decode(),
        },
        tag=_intent_tag(tag, entry),
    )


def _read_intent(store: Store, name: str, tag: str) -> _Intent | None:
    """Read one intent; anything else under such a tag is ignored."""
    try:
        manifest = store.manifest(name).parse(f"tag {name}")
        if not isinstance(manifest, Manifest) or manifest.annotations.get(keys.INTENT_TAG) != tag:
            return None
        text = manifest.annotations.get(keys.INTENT_ENTRY, "")
        entry = Descriptor.from_json(json.loads(text.encode(), "intent"), "entry")
        created = datetime.fromisoformat(manifest.annotations.get(keys.CREATED, ""))
    except (ContentError, NotFoundError, ValueError):
        return None
    if created.tzinfo is None or entry_key(entry) is None:
        return None
    return _Intent(entry, created)


def _prefix(tag: str) -> str:
    # Hashed, because a tag may take all of the 128 characters there are.
    return f"haulout.{Digest.of(tag.encode()).hex[:16]}."


def _intent_tag(tag: str, entry: Descriptor) -> str:
    key = entry_key(entry)
    assert key is not None, "only disk entries are announced"
    return _prefix(tag) + f"{key[1]}.{key[2]}"[:64]
