"""Keeps the list of referrers where a registry does not (distribution-spec, "Referrers Tag Schema").

The list is an index under one tag, which each publisher that attaches something reads, changes and writes.
:class:`haulout.content.SharedIndex` keeps them from taking out one another's lines. Tools that announce nothing (oras,
regctl) may still take out ours by a write that was under way meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from haulout.content import SharedIndex
from haulout.errors import DeniedError, InvalidManifest, NotFoundError, RegistryError
from haulout.oci import Descriptor, Digest, Index, Manifest, fallback_tag
from haulout.registry import manifests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import RLock

    from haulout.content import Store, StoredManifest
    from haulout.registry.access import Access


def read(access: Access, subject: Digest) -> Index | None:
    """Return the list; None where there is none.

    Raises:
        InvalidManifest: the tag holds a broken index.
    """
    try:
        stored = manifests.read(access, fallback_tag(subject))
    except (NotFoundError, DeniedError):
        # Some answer 403 for a tag that does not exist, whoever asks.
        return None
    what = manifests.describe(access, fallback_tag(subject))
    # GitLab resolves this tag to the subject itself (oras-go issue 1396).
    return Index.parse(stored.data, what, stored.descriptor.media_type) if stored.descriptor.is_index else None


def add(
    store: Store, name: str, writing: RLock, subject: Digest, entry: Descriptor, note: Callable[[str], None]
) -> None:
    """Enter a referrer, whose manifest is there, into the list; does nothing where it is listed.

    Args:
        store: where.
        name: ``host/repository``, for messages.
        writing: held meanwhile, so that our own threads do not race each other.
        subject: what it refers to.
        entry: the referrer as the list gives it.
        note: receives a line where other publishers cannot be seen.

    Raises:
        InvalidManifest: the tag is something else than an index, and is left alone.
        RegistryError: the registry lists referrers neither itself nor under a tag.
        ConflictError: others kept undoing it.
    """
    tag = fallback_tag(subject)
    what = f"{name}:{tag}"
    written = False

    def parse(stored: StoredManifest) -> Index | None:
        if stored.descriptor.is_index:
            return Index.parse(stored.data, what, stored.descriptor.media_type)
        if stored.descriptor.digest != subject:
            raise InvalidManifest(what, "it is kept for the list of referrers, but holds something else")
        if written:
            raise RegistryError(
                f"{name} cannot list what is attached to {subject.short}: it has no referrers API, and takes "
                f"the tag for the list ({tag}) for the manifest itself",
                hint="nothing can be attached in this registry; without attachments, everything else works",
            )
        # GitLab, see above. Whether it does so once a list is there shows when it is read again.
        return None

    def merge(index: Index | None, entries: Sequence[Descriptor]) -> Index:
        nonlocal written
        written = written or index is None
        return _merged(index, entries)

    with writing:
        # Other tools write the list, too, and announce nothing.
        shared = SharedIndex(store, tag, parse=parse, merge=merge, note=note, look_again=True)
        if not shared.holds([entry]):
            shared.add([entry])


def describe(descriptor: Descriptor, document: Manifest | Index) -> Descriptor:
    """Make the entry of a referrer: its artifact type (or its config's type), and all its annotations."""
    kind = document.effective_artifact_type if isinstance(document, Manifest) else document.artifact_type
    return replace(descriptor, artifact_type=kind, annotations=document.annotations)


def _merged(index: Index | None, entries: Sequence[Descriptor]) -> Index:
    index = index or Index(())
    there = {entry.digest for entry in index.manifests}
    missing = {entry.digest: entry for entry in entries if entry.digest not in there}
    return replace(index, manifests=(*index.manifests, *missing.values()))
