"""Carrying out a removal: in a registry one request after another, in a layout by collecting its garbage."""

from __future__ import annotations

import io
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from haulout.content import Graph, LayoutStore, collect, read_graph
from haulout.errors import ConflictError, DeletionRefused, DeniedError, NotFoundError, RegistryError
from haulout.oci import EMPTY, RegistryReference, empty_config_manifest, is_helper_tag, subject_of_tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.content import Store
    from haulout.oci import Digest, Reference
    from haulout.progress import Progress
    from haulout.upkeep.removal import Removal


def read_place(store: Store, progress: Progress, also: Sequence[Digest] = ()) -> tuple[Graph, tuple[Digest, ...]]:
    """Read all that a place holds as far as it can be listed, and the manifests that it lists without a tag.

    Raises:
        HauloutError: as listing tags, and reading manifests and referrers do.
    """
    names = list(store.tags())
    if isinstance(store, LayoutStore):
        entries = [entry.digest for entry in store.entries().manifests]
        graph = read_graph(store, [*names, *entries, *also], referrers=False, progress=progress)
        graph.link_subjects()
        tagged = set(graph.tags.values())
        loose = (each for each in dict.fromkeys(entries) if each not in tagged and each in graph.nodes)
        return graph, tuple(each for each in loose if graph.nodes[each].subject not in graph.nodes)
    subjects = [subject for tag in names if (subject := subject_of_tag(tag)) is not None]
    return read_graph(store, [*names, *subjects, *also], progress=progress), ()


def remove(
    store: Store, place: Reference, graph: Graph, removal: Removal, *, untagged: bool, progress: Progress
) -> int | None:
    """Carry out a removal that was planned from ``graph``.

    Returns:
        The bytes that a layout gave back; None for a registry, which gives them back when it collects its garbage.

    Raises:
        ConflictError: tags were written meanwhile; nothing was removed.
        DeletionRefused: the registry does not delete; nothing was removed.
        HauloutError: as deleting does; the same removal can be begun again.
    """
    if isinstance(store, LayoutStore):
        tags = [*(going.name for going in removal.versions), *removal.helper_tags]
        named = {tag: graph.tags[tag] for tag in tags if tag in graph.tags}
        return collect(store, named, removal.going, untagged=untagged).size
    assert isinstance(place, RegistryReference)
    if not store.can_delete():
        raise DeletionRefused(place.name, place.host)
    _require_unchanged(store, place, graph, removal)
    for tag in removal.untag:
        _untag(store, tag)
    refused = []
    with progress.task("deleting", len(removal.manifests), unit="") as task:
        for digest in removal.manifests:
            try:
                _delete(store, digest)
            except (DeniedError, RegistryError):
                # Some registries do not delete an entry before its index.
                refused.append(digest)
            else:
                task.advance(1)
        for digest in reversed(refused):
            _delete(store, digest)
            task.advance(1)
    gone = {going.name for going in removal.versions} | set(removal.helper_tags)
    with suppress(NotFoundError):
        for tag in [tag for tag in store.tags() if tag in gone]:
            with suppress(NotFoundError):
                store.delete_tag(tag)
    return None


def _delete(store: Store, digest: Digest) -> None:
    # Killed before, or a registry that deletes what is attached by itself.
    with suppress(NotFoundError):
        store.delete_manifest(digest)


def _require_unchanged(store: Store, place: Reference, graph: Graph, removal: Removal) -> None:
    known = {tag for tag in (*graph.tags, *graph.unreadable) if isinstance(tag, str)}
    changed = [tag for tag in store.tags() if tag not in known and not is_helper_tag(tag)]
    for tag in (*removal.kept, *(going.name for going in removal.versions)):
        with suppress(NotFoundError):
            if tag in graph.tags and store.manifest(tag).descriptor.digest != graph.tags[tag]:
                changed.append(tag)
    if changed:
        raise ConflictError(
            f"{place.name}: tags were written meanwhile ({', '.join(changed[:4])}); nothing was deleted",
            hint="run the same command again",
        )


def _untag(store: Store, tag: str) -> None:
    try:
        with suppress(NotFoundError):
            store.delete_tag(tag)
    except DeletionRefused as error:
        if not error.only_by_digest:
            raise
        # docker-registry deletes a manifest with all its tags: the tag is given one of its own first.
        nonce = {"io.github.haulout.deleted": secrets.token_hex(16)}
        manifest = empty_config_manifest((), artifact_type=EMPTY.media_type, annotations=nonce)
        store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        described = store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)
        store.delete_manifest(described.digest)
