"""Delete and prune: versions that go, with all that nothing else needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from haulout.documents import Document
from haulout.errors import ConflictError, NotFoundError, UsageError
from haulout.oci import LayoutReference, is_helper_tag
from haulout.places import Places
from haulout.progress import NullProgress
from haulout.upkeep import choose_versions, plan_removal, read_place, remove
from haulout.usecases.arguments import explicit_reference_of, repository_of

if TYPE_CHECKING:
    from datetime import timedelta

    from haulout.content import Graph, Store
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.upkeep import Going, Removal


@dataclass(frozen=True, slots=True)
class RemovalResult(Document):
    """What went, or would go."""

    json_members: ClassVar = (
        *("repository", "dry_run", "versions=removal.versions", "kept=removal.kept", "helper_tags=removal.helper_tags"),
        *("manifests=removal.manifests", "before=removal.before", "after=removal.after", "frees=removal.frees"),
        *("freed", "unknown_age", "refused"),
    )

    repository: str
    dry_run: bool
    removal: Removal
    freed: int | None
    """Bytes that the layout gave back; None for a registry, which gives them back when it collects its garbage."""
    unknown_age: tuple[str, ...] = ()
    """Versions that were kept since nothing states when they were made."""
    refused: bool = False
    """Of a dry run: whether the registry would not delete, so that the same without ``dry_run`` raises
    DeletionRefused. It is asked by deleting a digest that nothing has, which changes nothing."""

    @property
    def versions(self) -> tuple[Going, ...]:
        """What went."""
        return self.removal.versions


def prune(
    repository: str | Reference,
    *,
    keep: int | None = None,
    older_than: timedelta | None = None,
    untagged: bool = False,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> RemovalResult:
    """Delete old versions, and all that only they need: disks, tables, deltas, signatures, helper tags.

    Everything that a tag reaches that stays, stays, and what is attached to it. A tag without a number, such as
    ``latest``, always stays, and so does the newest version of each series.

    Args:
        repository: without a tag; of a parsed reference, only its place counts.
        keep: versions of each series that stay, at least 1; tags of one manifest count once.
        older_than: only versions made before that go; with ``keep``, both must hold.
        untagged: whether manifests that no tag reaches go as well, as far as the place lists them.
        dry_run: whether to delete nothing.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        UsageError: nothing says what is to go.
        DeletionRefused: the registry does not delete; nothing was deleted.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    place, progress = repository_of(repository), progress or NullProgress()
    if keep is None and older_than is None and not untagged:
        raise UsageError("nothing says what to prune", hint="use --keep, --older-than or --untagged")
    if keep is not None and keep < 1:
        raise UsageError("at least one version must stay", hint="to delete a tag: haulout delete")
    now = datetime.now(UTC)
    with Places(connections, progress) as places:
        store = places.open(place, push=not dry_run, create=False)
        graph, roots = read_place(store, progress)
        doomed: list[str] = []
        unknown: list[str] = []
        if keep is not None or older_than is not None:
            doomed, unknown = choose_versions(graph, keep=keep, older_than=older_than, now=now)
        removal = plan_removal(graph, doomed, roots=roots, untagged=untagged, now=now)
        freed = _carried_out(store, place, graph, removal, progress, untagged=untagged, dry_run=dry_run)
        refused = dry_run and _is_refused(store, removal)
    return RemovalResult(place.name, dry_run, removal, freed, tuple(unknown), refused)


def delete(
    reference: str | Reference,
    *,
    force: bool = False,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> RemovalResult:
    """Delete a tag, and all that only it needs; other tags of the same manifest stay, and keep it.

    Args:
        reference: with a tag, which is never assumed; or with a digest, which takes ``force``: then all its tags go,
            and indexes that list it stay without it.
        force: consent to delete by digest.
        dry_run: whether to delete nothing.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        NotFoundError: there is no such tag or digest.
        UsageError: a digest is named without ``force``.
        DeletionRefused: the registry does not delete; nothing was deleted.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    target, progress = explicit_reference_of(reference), progress or NullProgress()
    with Places(connections, progress) as places:
        store = places.open(target, push=not dry_run, create=False)
        try:
            root = places.root(target).descriptor.digest
        except NotFoundError as exc:
            raise places.explained(target, exc) from exc
        graph, roots = read_place(store, progress, [root])
        if target.digest is None:
            tag = target.tag or "latest"
            if is_helper_tag(tag):
                raise UsageError(f"{tag} is a helper tag", hint="haulout prune removes those that nothing needs")
            if graph.tags.get(tag) != root:
                raise ConflictError(f"{target} was written meanwhile; nothing was deleted", hint="try again")
            tags, digests = [tag], []
        else:
            tags, digests = [], [root]
            if not (force or dry_run):
                raise UsageError(_consequences(graph, target), hint="add --force, or look first with --dry-run")
        removal = plan_removal(graph, tags, digests=digests, roots=roots, now=datetime.now(UTC))
        freed = _carried_out(store, target, graph, removal, progress, untagged=False, dry_run=dry_run)
        refused = dry_run and _is_refused(store, removal)
    return RemovalResult(target.name, dry_run, removal, freed, refused=refused)


def _consequences(graph: Graph, target: Reference) -> str:
    assert target.digest is not None
    tags = graph.tags_of(target.digest)
    listing = [
        tag
        for tag, digest in graph.tags.items()
        if digest != target.digest and target.digest in graph.reach([digest], attached=False)
    ]
    also = f", and with it the tags {', '.join(tags[:8])}" if tags else ""
    broken = f"; {', '.join(listing[:8])} would lose an entry" if listing else ""
    return f"deleting {target} deletes the manifest itself{also}{broken}"


def _is_refused(store: Store, removal: Removal) -> bool:
    return not (removal.is_empty or store.can_delete())


def _carried_out(
    store: Store,
    place: Reference,
    graph: Graph,
    removal: Removal,
    progress: Progress,
    *,
    untagged: bool,
    dry_run: bool,
) -> int | None:
    is_layout = isinstance(place, LayoutReference)
    if dry_run or (removal.is_empty and not is_layout):
        return 0 if is_layout else None
    return remove(store, place, graph, removal, untagged=untagged, progress=progress)
