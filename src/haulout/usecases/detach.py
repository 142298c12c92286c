"""Delete what is attached to what a reference names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from haulout.documents import Document
from haulout.places import Places
from haulout.progress import NullProgress
from haulout.usecases.arguments import reference_of

if TYPE_CHECKING:
    from haulout.oci import Digest, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

from haulout.usecases.discover import choose, discovered


@dataclass(frozen=True, slots=True)
class DetachResult(Document):
    """What was detached."""

    json_members: ClassVar = ("reference", "pinned", "detached", "dry_run", "refused")

    reference: Reference
    pinned: Reference
    detached: tuple[Digest, ...]
    """The manifest, after what was attached to it."""
    dry_run: bool
    refused: bool = False
    """Of a dry run: whether the registry would not delete, as in :class:`~haulout.RemovalResult`."""


def detach(
    reference: str | Reference,
    digest: str | Digest,
    *,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> DetachResult:
    """Delete one thing that is attached to ``reference``, and what is attached to that.

    Args:
        reference: to which it is attached.
        digest: of its manifest, or the beginning of it.
        dry_run: whether to delete nothing.
        connections: how registries are reached.
        progress: receives warnings.

    Raises:
        NotFoundError: nothing of that digest is attached.
        DeletionRefused: the place does not delete.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    reference = reference_of(reference)
    with Places(connections, progress or NullProgress()) as places:
        store = places.open(reference, push=not dry_run, create=False)
        found = discovered(places, reference, None, None, None, None)
        gone = [each.digest for each in reversed(tuple(choose(found, None, str(digest)).walk()))]
        for each in () if dry_run else gone:
            store.delete_manifest(each)
        refused = dry_run and not store.can_delete()
        return DetachResult(reference, found.pinned, tuple(gone), dry_run, refused)
