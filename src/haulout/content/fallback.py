"""Edits of the fallback tag's list of referrers (distribution-spec, "Referrers Tag Schema")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from haulout.content.ports import Deleter, ManifestReader, ManifestWriter, StoredManifest
from haulout.errors import ContentError, NotFoundError
from haulout.oci import Digest, Index, fallback_tag

if TYPE_CHECKING:
    from collections.abc import Callable


class Place(ManifestReader, ManifestWriter, Deleter, Protocol):
    """What an edit needs of a store."""


def deleted_with_its_line(place: Place, stored: StoredManifest, delete: Callable[[], None]) -> None:
    """Delete a manifest, then its line in the list of what it refers to, if there is such a list.

    Args:
        place: where.
        stored: what goes.
        delete: deletes it; in this order, so that nothing changes where that is refused.

    Raises:
        HauloutError: as ``delete``, and as writing the list does.
    """
    try:
        subject = stored.parse(str(stored.descriptor.digest)).subject
    except ContentError:
        # Broken, and therefore in nobody's list.
        subject = None
    delete()
    if subject is not None:
        _forget(place, subject.digest, stored.descriptor.digest)


def _forget(place: Place, subject: Digest, referrer: Digest) -> None:
    tag = fallback_tag(subject)
    try:
        listed = place.manifest(tag)
        index = listed.parse(tag)
    except (NotFoundError, ContentError):
        return
    if not isinstance(index, Index) or all(entry.digest != referrer for entry in index.manifests):
        return
    rest = tuple(entry for entry in index.manifests if entry.digest != referrer)
    if rest:
        place.push_manifest(replace(index, manifests=rest).to_bytes(), index.media_type, tag)
    else:
        # By digest: a list that another client has extended meanwhile has another, and stays.
        place.delete_manifest(listed.descriptor.digest)
