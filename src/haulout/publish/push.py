"""The steps of a push that write: each disk, then its deltas, then the tag."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from haulout.publish.base import Bases, StoredDisk
from haulout.publish.delta import DeltaEnd
from haulout.publish.index import publish, tagged_index
from haulout.publish.upload import DiskUploader
from haulout.resolve import DiskQuery, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from haulout.content import Store, StoredManifest
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Digest, Reference
    from haulout.progress import Progress
    from haulout.publish.delta import DeltaMaker
    from haulout.publish.results import PublishedDelta, PushedDisk
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


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was published."""

    index: Digest
    disks: tuple[PushedDisk, ...]
    deltas: tuple[PublishedDelta, ...]


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
        HauloutError: see the tree in :mod:`haulout.errors`; until the last step the tag is as it was.
    """
    assert reference.tag is not None
    tagged = None if root is None else tagged_index(root, reference.tag)
    index = None if tagged is None else tagged.index
    bases = Bases(reference, store, index, options.base, find, progress) if options.use_base else None
    uploader = DiskUploader(
        store, reference, index, bases, name=options.name, level=options.level, jobs=options.jobs, progress=progress
    )
    uploaded = [
        uploader.put(disk.path, disk.architecture, disk.disk_type, place=(number, len(disks)))
        for number, disk in enumerate(disks, 1)
    ]
    # Before the tag moves: a client that sees the new disks finds their deltas.
    deltas = [
        _delta(store, reference, disk, done, old, maker, progress)
        for disk, done in zip(disks, uploaded, strict=True)
        for old in disk.earlier
    ]
    digest = publish(store, reference.tag, [done.entry for done in uploaded], progress, tagged)
    return Pushed(digest, tuple(done.report for done in uploaded), tuple(deltas))


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
