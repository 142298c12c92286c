"""Copy a reference: between registries, image layouts and archives, with everything that belongs to it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from haulout.content import CopyOptions
from haulout.content import copy as copy_content
from haulout.documents import Document
from haulout.errors import NoMatchingDisk, UsageError
from haulout.oci import ArchiveReference, Index, RegistryReference
from haulout.places import Places
from haulout.progress import BlobTotal, NullProgress, Traffic
from haulout.resolve import candidates, selection, spelled
from haulout.usecases.arguments import architecture_of, disk_type_of, reference_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from haulout.content import Copied
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.resolve import Selection

DEFAULT_JOBS = 4


@dataclass(frozen=True, slots=True)
class CopyResult(Document):
    """What a copy did; of a dry run, what it would do."""

    json_members: ClassVar = (
        *("source", "destination", "pinned", "dry_run", "manifests", "attached", "signature_tags"),
        *("blobs", "missing", "notes", "*traffic", "seconds"),
    )

    source: Reference
    destination: Reference
    pinned: Reference
    """The destination, by the digest of what was copied."""
    dry_run: bool
    manifests: int
    """All of them, with what is attached."""
    attached: int
    """How many of them came because of what they are attached to."""
    signature_tags: tuple[str, ...]
    """Tags of cosign that were copied."""
    blobs: BlobTotal
    missing: BlobTotal
    """Of these, what was sent: what was not there and could not be mounted. Of a dry run, what is not there."""
    notes: tuple[str, ...]
    """What stayed behind."""
    traffic: Traffic
    seconds: float


def copy(  # noqa: PLR0913 - each is one word of the request
    source: str | Reference,
    destination: str | Reference,
    *,
    architectures: Iterable[str | Architecture] = (),
    disk_types: Iterable[str | DiskType] = (),
    referrers: bool = True,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> CopyResult:
    """Copy what ``source`` names to ``destination``, byte for byte, and only what is not there.

    What is attached comes along: referrers at every level, deltas among them, and the tags of cosign's signatures.
    Interrupted, the same call goes on where it was.

    Args:
        source: a registry reference, a layout or an archive.
        destination: the same; an archive is replaced as a whole, and keeps its other images.
        architectures: only disks of these; none: all that there is.
        disk_types: only disks of these; none: all that there is.
        referrers: whether what is attached comes along.
        dry_run: only look what there is to do.
        connections: how registries are reached.
        progress: receives the work.
        jobs: blobs under way at a time; None: 4.

    Raises:
        NotFoundError: the source, or a part of it, is not there; or no disk was chosen.
        UsageError: the destination has a digest, or there is nothing to choose from.
        HauloutError: see the tree in :mod:`haulout.errors`; the destination's tag is as it was.
    """
    begun = time.monotonic()
    here, there = reference_of(source), target_of(reference_of(destination), reference_of(source))
    chosen = selection(tuple(map(architecture_of, architectures)), tuple(map(disk_type_of, disk_types)))
    progress = progress or NullProgress()
    options = CopyOptions(
        referrers, chosen.entries if chosen.is_narrow else None, mounts_from(here, there), jobs or DEFAULT_JOBS
    )
    with Places(connections, progress) as places:
        # Before the destination: a source that is not there must not leave an empty layout.
        store = places.open(here)
        places.root(here)
        if chosen.is_narrow:
            _require_disks(places, here, chosen)
        with places.copy_target(there, dry_run=dry_run) as target:
            done = copy_content(store, here.selector, target, there.tag, options, dry_run=dry_run, progress=progress)
        return result(here, there, done, places.traffic, time.monotonic() - begun, dry_run=dry_run)


def result(
    source: Reference, destination: Reference, done: Copied, traffic: Traffic, seconds: float, *, dry_run: bool
) -> CopyResult:
    """Describe a copy."""
    plan = done.plan
    return CopyResult(
        source,
        destination,
        destination.at(done.root.digest),
        dry_run,
        plan.manifests,
        plan.attached,
        tuple(plan.tags),
        BlobTotal(len(plan.blobs), plan.size),
        BlobTotal(len(done.sent), done.sent_bytes),
        plan.notes,
        traffic,
        seconds,
    )


def target_of(destination: Reference, source: Reference) -> Reference:
    """Return the destination with a tag.

    Raises:
        UsageError: it has a digest.
    """
    if destination.digest is not None:
        raise UsageError(f"cannot copy to {destination}: a digest names existing content", hint="name a tag")
    if isinstance(destination, ArchiveReference) and destination.tag is None:
        return destination.with_tag(source.tag or "latest")
    return destination


def mounts_from(source: Reference, destination: Reference) -> str | None:
    """Return the repository that the destination's registry can mount blobs from; None where it cannot."""
    if not isinstance(source, RegistryReference) or not isinstance(destination, RegistryReference):
        return None
    return source.repository if source.host == destination.host and source.name != destination.name else None


def _require_disks(places: Places, reference: Reference, chosen: Selection) -> None:
    store, root = places.open(reference), places.root(reference)
    parsed = root.parse(str(reference))
    if not isinstance(parsed, Index):
        raise UsageError(
            f"{reference} is a single manifest: there is nothing to choose", hint="leave out --arch and --type"
        )
    if not chosen.entries(parsed, store):
        raise NoMatchingDisk(str(reference), str(chosen), spelled(candidates(parsed, store)))
