"""The steps of a push that write: each disk, then the tag, then what is attached to the disks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from haulout.errors import DeniedError, HauloutError, NotAttached, RegistryError
from haulout.publish.base import Bases, StoredDisk
from haulout.publish.containerdisk import (
    DiskOf,
    container_disk_sources,
    put_container_disk,
    require_free,
    stale_container_disks,
)
from haulout.publish.delta import DeltaEnd
from haulout.publish.index import publish, tagged_index
from haulout.publish.upload import DiskUploader
from haulout.resolve import DiskQuery, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from haulout.content import Store, StoredManifest, TaggedIndex
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Descriptor, Digest, Reference
    from haulout.progress import Progress
    from haulout.publish.annotations import AskedAnnotations
    from haulout.publish.delta import DeltaMaker
    from haulout.publish.results import PublishedDelta, PushedContainerDisk, PushedDisk
    from haulout.publish.upload import UploadedDisk


@dataclass(frozen=True, slots=True)
class PreparedDisk:
    """A file to publish as it is."""

    path: Path
    architecture: Architecture
    disk_type: DiskType
    earlier: tuple[StoredDisk, ...] = ()
    """Disks from which a delta is attached."""


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How disks are published."""

    name: str
    """First part of the titles."""
    level: int
    jobs: int
    use_base: bool
    base: Reference | None
    """The one asked for."""
    annotations: AskedAnnotations
    container_disk: bool = False
    """Whether each architecture also gets a container image that holds its disk."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was published."""

    index: Digest
    disks: tuple[PushedDisk, ...]
    deltas: tuple[PublishedDelta, ...]
    container_disks: tuple[PushedContainerDisk, ...] = ()


def push(
    store: Store,
    reference: Reference,
    root: StoredManifest | None,
    disks: Sequence[PreparedDisk],
    options: PushOptions,
    *,
    find: Callable[[Reference, DiskQuery], StoredDisk],
    maker: DeltaMaker,
    progress: Progress,
) -> Pushed:
    """Publish disks under one tag.

    Args:
        store: open for writing.
        reference: what it is open for, with the tag.
        root: what the tag holds; None: there is no such tag.
        disks: each of its own architecture and type.
        options: how.
        find: finds a disk in the base that was asked for.
        maker: makes the deltas.
        progress: receives the work.

    Raises:
        NotAttached: the tag is written, but a delta is not attached.
        HauloutError: see the tree in :mod:`haulout.errors`; the tag is as it was.
    """
    assert reference.tag is not None
    tagged = None if root is None else tagged_index(root, reference.tag)
    index = None if tagged is None else tagged.index
    kinds = [(disk.architecture, disk.disk_type) for disk in disks]
    contained = container_disk_sources(kinds) if options.container_disk else []
    require_free(index, [disks[number].architecture for number in contained])
    bases = Bases(reference, store, index, options.base, find, progress) if options.use_base else None
    uploader = DiskUploader(
        store,
        reference,
        index,
        bases,
        name=options.name,
        level=options.level,
        jobs=options.jobs,
        annotations=options.annotations,
        progress=progress,
    )
    uploaded = [
        uploader.put(disk.path, disk.architecture, disk.disk_type, place=(number, len(disks)))
        for number, disk in enumerate(disks, 1)
    ]
    containers = [
        put_container_disk(
            store,
            index,
            DiskOf(disks[number].path, disks[number].architecture, uploaded[number].toc.disk),
            uploaded[number].report.title.removesuffix(".zst"),
            options.annotations,
            jobs=options.jobs,
            progress=progress,
        )
        for number in contained
    ]
    changed = [disk.architecture for disk, done in zip(disks, uploaded, strict=True) if done.report.status == "pushed"]
    for architecture in [] if options.container_disk else stale_container_disks(index, changed):
        progress.note(
            f"the container disk of {architecture} under {reference} still holds the disk before this one; "
            "push with --container-disk to renew it"
        )
    images = [entry for entry, _ in containers]
    digest = _publish(store, reference.tag, uploaded, images, tagged, options.annotations.index, progress)
    # After the tag has moved: what cannot be attached is no reason to keep the disks back.
    deltas: list[PublishedDelta] = []
    failures: list[HauloutError] = []
    for disk, done in zip(disks, uploaded, strict=True):
        for old in disk.earlier:
            try:
                deltas.append(_delta(store, reference, disk, done, old, maker, progress))
            except HauloutError as exc:
                failures.append(exc)
    if failures:
        raise NotAttached(str(reference.at(digest)), failures)
    reports = tuple(report for _, report in containers)
    return Pushed(digest, tuple(done.report for done in uploaded), tuple(deltas), reports)


def _publish(
    store: Store,
    tag: str,
    uploaded: Sequence[UploadedDisk],
    containers: Sequence[Descriptor],
    tagged: TaggedIndex | None,
    annotations: Mapping[str, str],
    progress: Progress,
) -> Digest:
    entries = [*(entry for done in uploaded for entry in (done.entry, done.tables)), *containers]
    try:
        return publish(store, tag, entries, progress, tagged, annotations)
    except (RegistryError, DeniedError) as exc:
        wanted = [*(done.entry for done in uploaded), *containers]
        if tagged is None or annotations or any(entry not in tagged.index.manifests for entry in wanted):
            raise
        # Only the tables of an older release's push were to be moved into the index. Tags may be immutable.
        progress.note(f"{tag} holds these disks, and stays as an older release wrote it ({exc})")
        return tagged.digest


def _delta(
    store: Store,
    reference: Reference,
    disk: PreparedDisk,
    done: UploadedDisk,
    old: StoredDisk,
    maker: DeltaMaker,
    progress: Progress,
) -> PublishedDelta:
    pinned = reference.at(done.entry.digest)
    found = resolve(store, pinned, DiskQuery(disk.architecture, disk.disk_type))
    newer = DeltaEnd(store, found, done.toc, disk.path)
    made = maker.make(DeltaEnd.of(old, progress), newer, lambda: store)
    return replace(made, architecture=str(disk.architecture), disk_type=str(disk.disk_type))
