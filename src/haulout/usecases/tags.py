"""Tags: the versions of a repository or layout, and other names for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from haulout.documents import Document
from haulout.errors import NotFoundError, UsageError
from haulout.places import Places, open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.upkeep import ListedTag, list_tags
from haulout.usecases.arguments import reference_of, repository_of, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from haulout.oci import Digest, Reference
    from haulout.progress import Progress


@dataclass(frozen=True, slots=True)
class TagList(Document):
    """The tags of a repository or layout."""

    repository: str
    tags: tuple[ListedTag, ...]
    """Names that move first, such as ``latest``, then the versions, newest first."""
    helper_tags: int
    """Tags that tools wrote for their own use, whether listed or not."""


@dataclass(frozen=True, slots=True)
class WrittenTag(Document):
    """One name that was given."""

    tag: str
    before: Digest | None
    """What it named before; None where it is new."""
    status: Literal["new", "moved", "present"]


@dataclass(frozen=True, slots=True)
class TagResult(Document):
    """What the giving of names did, or would do."""

    json_members: ClassVar = ("reference", "pinned", "tags", "dry_run")

    reference: Reference
    pinned: Reference
    tags: tuple[WrittenTag, ...]
    dry_run: bool


def tags(
    repository: str | Reference,
    *,
    helpers: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> TagList:
    """List the tags of a repository or layout, with the disks and sizes of each.

    Args:
        repository: without a tag; of a parsed reference, only its place counts.
        helpers: whether tags that tools wrote for their own use are listed, too.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        NotFoundError: there is no such repository or layout.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    place, progress = repository_of(repository), progress or NullProgress()
    with open_store(place, connections or ConnectionOptions(), progress) as store:
        found, hidden = list_tags(store, helpers=helpers, progress=progress)
    return TagList(place.name, found, hidden)


def tag(
    reference: str | Reference,
    names: str | Iterable[str],
    *,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> TagResult:
    """Give what ``reference`` names further tags in the same repository or layout.

    Args:
        reference: what is to be named.
        names: the tags; one that names something else is moved.
        dry_run: whether to write nothing.
        connections: how registries are reached.
        progress: receives warnings.

    Raises:
        NotFoundError: there is no such reference.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    source = reference_of(reference)
    wanted = tuple(dict.fromkeys(tag_of(name) for name in ([names] if isinstance(names, str) else names)))
    if not wanted:
        raise UsageError("no tag to give", hint="name at least one")
    with Places(connections, progress) as places:
        store = places.open(source, push=not dry_run, create=False)
        root = places.root(source)
        written = []
        for name in wanted:
            try:
                before = store.manifest(name).descriptor.digest
            except NotFoundError:
                before = None
            is_there = before == root.descriptor.digest
            if not is_there and not dry_run:
                store.push_manifest(root.data, root.descriptor.media_type, name)
            written.append(WrittenTag(name, before, "present" if is_there else "new" if before is None else "moved"))
    return TagResult(source, source.at(root.descriptor.digest), tuple(written), dry_run)
