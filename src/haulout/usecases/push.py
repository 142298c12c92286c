"""Push: from disk files to one tag that any stock tool can use."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.errors import NoMatchingDisk, NotFoundError, UsageError
from haulout.extras import require
from haulout.frames import DEFAULT_LEVEL as DELTA_LEVEL
from haulout.local import processors
from haulout.oci import Architecture
from haulout.places import Places
from haulout.progress import BlobTotal, NullProgress
from haulout.publish import (
    AskedAnnotations,
    DeltaMaker,
    InspectedDisk,
    PlannedDisk,
    PreparedDisk,
    PushOptions,
    PushResult,
    StoredDisk,
    container_disk_sources,
    inspect_disk,
    plain_disk,
    plan_disks,
    prepare,
)
from haulout.publish import push as publish
from haulout.resolve import DiskQuery, base_name
from haulout.usecases.arguments import architecture_of, disk_type_of, path_of, reference_of, tag_of
from haulout.usecases.delta import FetchedForDelta, finder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from haulout.content import Store
    from haulout.disk import DiskType
    from haulout.oci import Digest, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

DEFAULT_LEVEL = 6
"""zstd level of a push: within 1 % of level 9 in size once cut into frames, in two thirds of its time (measured)."""

_TAG_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class DiskSource:
    """One disk to push, where a tag gets several."""

    path: str | os.PathLike[str]
    architecture: str | Architecture | None = None
    """None: that of the push."""
    disk_type: str | DiskType | None = None
    """None: that of the push."""


def push(  # noqa: PLR0913 - each is one word of the request
    reference: str | Reference,
    sources: str | os.PathLike[str] | DiskSource | Iterable[str | os.PathLike[str] | DiskSource],
    *,
    architecture: str | Architecture | None = None,
    disk_type: str | DiskType | None = None,
    also: Iterable[str | DiskType] = (),
    level: int = DEFAULT_LEVEL,
    title: str | None = None,
    base: str | Reference | None = None,
    use_base: bool = True,
    force: bool = False,
    container_disk: bool = False,
    delta_from: Iterable[str | Reference] = (),
    tags: Iterable[str] = (),
    annotations: Mapping[str, str] | None = None,
    source_from_git: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> PushResult:
    """Publish disks under one tag.

    Entries the tag holds already stay, unless they are of the same architecture and disk type. A disk that the tag
    holds already, byte for byte, is not uploaded again.

    Args:
        reference: repository and tag.
        sources: a disk file, or several; all are inspected first. Of one that is compressed (gzip, xz, zstd, bzip2),
            in an OVA, or a VHD, the disk inside is published.
        architecture: of the disks that do not have their own; None: this machine's.
        disk_type: of the disks that do not have their own; None: what inspection of the file says.
        also: further disk types to make from each source here, and publish.
        level: zstd level, 1 to 22.
        title: first part of the titles; None: the last part of the repository's name.
        base: an earlier version of the disks: they are cut like it, so that those who have it fetch little, and its
            frames are reused. None: the tag's present disk of the same architecture and type, else that of the tag
            before it.
        tags: further tags of the same repository or layout that point to the index then.
        annotations: by key: on the index and on the disks' manifests, or as the key says in front: ``index:KEY``,
            ``manifest:KEY``, ``manifest-descriptor:KEY`` (the disks' entries in the index), several with commas.
        source_from_git: a checkout, whose remote, commit and its date the index states as source, revision, created.
        dry_run: write nothing: the disks are compressed, to know what there is to send.
        force: publish what nothing shows to be a disk: no partition table, file system or boot sector, or no whole
            sectors.
        container_disk: also publish, for each architecture, its qcow2 or raw disk under ``/disk/`` of a container
            image, as KubeVirt, CDI and crun-vm take it.
        use_base: whether to use a base at all.
        delta_from: earlier versions; for each of its disks of the same architecture and type, a delta is attached.
        connections: how registries are reached.
        progress: receives the work.
        jobs: frames compressed at a time; None: one for each processor.

    Raises:
        NotAttached: the tag is written, but a delta is not attached.
        HauloutError: see the tree in :mod:`haulout.errors`; the tag is as it was.
    """
    begun = time.monotonic()
    progress = progress or NullProgress()
    target, jobs = reference_of(reference), jobs or processors()
    if target.tag is None or target.digest is not None:
        raise UsageError(f"cannot push to {target}: a digest names existing content", hint="name a tag")
    if base is not None or delta_from:
        require("numpy", extra="deltas")
    further, asked = tuple(dict.fromkeys(map(tag_of, tags))), _asked(annotations or {}, source_from_git, progress)
    earlier, named = [reference_of(old) for old in delta_from], None if base is None else reference_of(base)
    several = [sources] if isinstance(sources, str | os.PathLike | DiskSource) else sources
    types = [disk_type_of(each) for each in also]
    with Places(connections, progress) as places, ExitStack() as stack:
        planned = plan_disks(
            [_inspected(source, architecture, disk_type, force, stack, progress) for source in several], types
        )
        if container_disk:
            container_disk_sources([(disk.architecture, disk.disk_type) for disk in planned])
        find = finder(places)
        # All that may be missing is looked for before hours of work, not after.
        olds = [_earlier(find, earlier, disk, progress) for disk in planned]
        prepared = [
            PreparedDisk(prepare(disk, stack, progress), disk.architecture, disk.disk_type, found)
            for disk, found in zip(planned, olds, strict=True)
        ]
        options = PushOptions(title or base_name(target), level, jobs, use_base, named, asked, container_disk)
        maker = DeltaMaker(FetchedForDelta(progress), level=DELTA_LEVEL, jobs=jobs, progress=progress)
        rehearsal = places.rehearsed(target) if dry_run else None
        store: Store = rehearsal or places.open(target, push=True)
        try:
            root = places.root(target)
        except NotFoundError:
            root = None
        done = publish(store, target, root, prepared, options, find=find, maker=maker, progress=progress)
        index = _also_tagged(store, target.tag, further, done.index)
        sent = None if rehearsal is None else rehearsal.missing.values()
        return PushResult(
            target,
            index,
            done.disks,
            done.deltas,
            places.traffic,
            time.monotonic() - begun,
            further,
            done.container_disks,
            None if sent is None else BlobTotal(len(sent), sum(blob.size for blob in sent)),
        )


def _also_tagged(store: Store, tag: str, further: Sequence[str], index: Digest) -> Digest:
    """Let further tags name what ``tag`` names, and return what that is: another publisher may have added to it."""
    for _ in range(_TAG_ROUNDS if further else 0):
        root = store.manifest(tag)
        for name in further:
            store.push_manifest(root.data, root.descriptor.media_type, name)
        index = root.descriptor.digest
        if store.manifest(tag).descriptor.digest == index:
            break
    return index


def _asked(
    annotations: Mapping[str, str], checkout: str | os.PathLike[str] | None, progress: Progress
) -> AskedAnnotations:
    if checkout is None:
        return AskedAnnotations.parse(annotations)
    from haulout.usecases.git_source import git_annotations  # noqa: PLC0415 - rarely asked

    stated, notes = git_annotations(path_of(checkout))
    for note in notes:
        progress.note(note)
    return AskedAnnotations.parse(annotations, stated)


def _inspected(
    source: str | os.PathLike[str] | DiskSource,
    architecture: str | Architecture | None,
    disk_type: str | DiskType | None,
    force: bool,  # noqa: FBT001 - handed on
    stack: ExitStack,
    progress: Progress,
) -> InspectedDisk:
    if isinstance(source, DiskSource):
        architecture, disk_type = source.architecture or architecture, source.disk_type or disk_type
    path = path_of(source.path if isinstance(source, DiskSource) else source)
    return inspect_disk(
        plain_disk(path, stack, progress),
        Architecture.here() if architecture is None else architecture_of(architecture),
        None if disk_type is None else disk_type_of(disk_type),
        name=str(path),
        force=force,
    )


def _earlier(
    find: Callable[[Reference, DiskQuery], StoredDisk],
    references: Iterable[Reference],
    disk: PlannedDisk,
    progress: Progress,
) -> tuple[StoredDisk, ...]:
    """Find the disks from which deltas to ``disk`` are wanted."""
    found = []
    for reference in references:
        try:
            found.append(find(reference, DiskQuery(disk.architecture, disk.disk_type)))
        except NoMatchingDisk as error:
            progress.note(f"no delta for {disk.architecture}/{disk.disk_type}: {error}")
    return tuple(found)
