"""Push: from disk files to one tag that any stock tool can use."""

from __future__ import annotations

import io
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from haulout import disk as disks
from haulout.content import read_blob
from haulout.disk import convert, uncompress_qcow2
from haulout.errors import ContentError, NoMatchingDisk, NotFoundError, UsageError
from haulout.fetch import storage_errors, workplace
from haulout.frames import MAX_TOC_BYTES, Guide, Packed, Takeover, Toc, has_frames, hash_file, pack, toc_frames
from haulout.oci import (
    EMPTY,
    Architecture,
    Descriptor,
    Index,
    Manifest,
    Platform,
    SizedDigest,
    empty_config_manifest,
    mediatype,
)
from haulout.oci import annotations as keys
from haulout.places import open_store, put_manifest
from haulout.progress import NullProgress
from haulout.publish import (
    Bases,
    DeltaResult,
    FoundBase,
    PushedBase,
    PushedDisk,
    PushResult,
    entry_key,
    publish,
    read_index,
)
from haulout.registry import ConnectionOptions
from haulout.resolve import base_name, title_for
from haulout.usecases.delta import delta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from haulout.content import Store
    from haulout.disk import DiskInfo, DiskType
    from haulout.oci import Reference
    from haulout.progress import Progress

DEFAULT_LEVEL = 6
"""zstd level of a push: within 1 % of level 9 in size once cut into frames, in two thirds of its time (measured)."""


@dataclass(frozen=True, slots=True)
class DiskSource:
    """One disk to push."""

    path: Path
    architecture: Architecture
    disk_type: DiskType | None = None
    """None: what inspection of the file says."""


def push(  # noqa: PLR0913 - each is one word of the request
    reference: Reference,
    sources: Sequence[DiskSource],
    *,
    also: Sequence[DiskType] = (),
    level: int = DEFAULT_LEVEL,
    title: str | None = None,
    base: Reference | None = None,
    use_base: bool = True,
    delta_from: Sequence[Reference] = (),
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> PushResult:
    """Publish disks under one tag.

    Entries the tag holds already stay, unless they are of the same architecture and disk type. A disk that the tag
    holds already, byte for byte, is not uploaded again.

    Args:
        reference: repository and tag.
        sources: the disks; inspected before anything else touches them.
        also: further disk types to make from each source here, and publish.
        level: zstd level, 1 to 22.
        title: first part of the titles; None: the last part of the repository's name.
        base: an earlier version of the disks: they are cut where it was cut, so that whoever has it fetches little, and
            its frames are taken over. None: the tag's present disk of the same architecture and type, else that of the
            tag before it.
        use_base: whether there is to be a base at all.
        delta_from: earlier versions; for each of its disks of the same architecture and type, a delta is attached.
        connections: how registries are reached.
        progress: told of the work.
        jobs: frames compressed at a time; None: one for each processor.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`; until the last step the tag is as it was.
    """
    begun = time.monotonic()
    progress = progress or NullProgress()
    if reference.tag is None or reference.digest is not None:
        raise UsageError(f"cannot push to {reference}: a digest names what is there already", hint="name a tag")
    with ExitStack() as stack:
        connections = connections or ConnectionOptions()
        for old in delta_from:
            # Before hours of work, not after.
            with open_store(old, connections, progress) as place:
                place.manifest(old.digest or old.tag or "latest")
        planned = list(_plan(sources, also, stack, progress))
        store = stack.enter_context(open_store(reference, connections, progress, push=True))
        bases = stack.enter_context(Bases(reference, store, base, connections, progress)) if use_base else None
        work = _Push(reference, store, bases, title, level, jobs or _processors(), progress)
        index = read_index(store, reference.tag)
        pushed = [work.one(disk, index) for disk in planned]
        # Before the tag moves: whoever sees the new disks finds their deltas.
        deltas = [
            made
            for disk, (_, entry) in zip(planned, pushed, strict=True)
            for old in delta_from
            if (made := _delta(old, reference.at(entry.digest), disk, connections, progress, jobs))
        ]
        digest = publish(store, reference.tag, [entry for _, entry in pushed], progress)
        traffic = store.traffic if bases is None else store.traffic + bases.traffic
        return PushResult(
            reference,
            digest,
            tuple(disk for disk, _ in pushed),
            tuple(deltas),
            sum((made.traffic for made in deltas), traffic),
            time.monotonic() - begun,
        )


def _delta(
    old: Reference,
    new: Reference,
    disk: _Planned,
    connections: ConnectionOptions,
    progress: Progress,
    jobs: int | None,
) -> DeltaResult | None:
    try:
        made = delta(
            old,
            new,
            architecture=disk.architecture,
            disk_type=disk.disk_type,
            new_file=disk.path,
            connections=connections,
            progress=progress,
            jobs=jobs,
        )
    except NoMatchingDisk as error:
        progress.note(f"no delta for {disk.architecture}/{disk.disk_type}: {error}")
        return None
    return replace(made, architecture=str(disk.architecture), disk_type=str(disk.disk_type))


@dataclass(frozen=True, slots=True)
class _Planned:
    path: Path
    architecture: Architecture
    disk_type: DiskType


def _plan(
    sources: Sequence[DiskSource], also: Sequence[DiskType], stack: ExitStack, progress: Progress
) -> Iterator[_Planned]:
    """Inspect every source before anything is done, then make the other formats."""
    inspected: list[tuple[DiskSource, DiskInfo, DiskType]] = []
    for source in sources:
        expected = None if source.disk_type is None else source.disk_type.disk_format
        info = disks.require_safe(disks.inspect(source.path), expected)
        inspected.append((source, info, source.disk_type or info.disk_type))
    _require_distinct(inspected, also)
    for source, info, disk_type in inspected:
        path = source.path
        if info.compressed:
            progress.note(f"{path} is compressed inside; it is written again without, so that updates stay small")
            path = workplace(stack) / "plain.qcow2"
            uncompress_qcow2(source.path, path, progress=progress)
        yield _Planned(path, source.architecture, disk_type)
        for other in also:
            if other is disk_type:
                continue
            made = workplace(stack) / f"disk.{other.disk_format.extension}"
            convert(source.path, info.format, made, other.disk_format, progress=progress)
            yield _Planned(made, source.architecture, other)


def _require_distinct(inspected: Sequence[tuple[DiskSource, DiskInfo, DiskType]], also: Sequence[DiskType]) -> None:
    if not inspected:
        raise UsageError("no disk to push", hint="name at least one disk image")
    seen: set[tuple[Architecture, DiskType]] = set()
    for source, _, disk_type in inspected:
        for each in {disk_type, *also}:
            if (source.architecture, each) in seen:
                raise UsageError(
                    f"two disks for {source.architecture}/{each}, where a tag holds one",
                    hint="tell them apart with --disk ARCH/TYPE=FILE",
                )
            seen.add((source.architecture, each))


@dataclass(frozen=True, slots=True)
class _Tables:
    """The blobs that go with a disk's blob."""

    toc: Descriptor
    hints: Descriptor
    crumbs: Descriptor | None

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """All of them, as layers of their referrer."""
        return (self.toc, self.hints) if self.crumbs is None else (self.toc, self.hints, self.crumbs)


class _Push:
    """Pushing disks to one store."""

    def __init__(
        self,
        reference: Reference,
        store: Store,
        bases: Bases | None,
        title: str | None,
        level: int,
        jobs: int,
        progress: Progress,
    ) -> None:
        self._store = store
        self._bases = bases
        self._reference = reference
        self._name = title or base_name(reference)
        self._level = level
        self._jobs = jobs
        self._progress = progress

    def one(self, disk: _Planned, index: Index | None) -> tuple[PushedDisk, Descriptor]:
        """Push one disk and return what it is and its index entry."""
        title = title_for(self._name, disk.architecture, disk.disk_type)
        with storage_errors(disk.path), disk.path.open("rb", buffering=0) as file:
            fd = file.fileno()
            present = self._present(fd, disk, title, index)
            if present is not None:
                return present
            size = os.fstat(fd).st_size
            found = None if self._bases is None else self._bases.find(disk.architecture, disk.disk_type, size)
            return self._upload(fd, disk, title, found)

    def _upload(self, fd: int, disk: _Planned, title: str, found: FoundBase | None) -> tuple[PushedDisk, Descriptor]:
        store, progress = self._store, self._progress
        with store.ingest() as sink, ExitStack() as stack:
            guide = None if found is None else self._guide(found, stack)
            before = os.fstat(fd)
            with progress.task(f"compressing {disk.disk_type}", before.st_size) as task:
                packed = pack(fd, sink, level=self._level, jobs=self._jobs, task=task, guide=guide)
            with packed, progress.task(f"uploading {disk.disk_type}", packed.toc.blob_size) as task:
                _require_unchanged(disk.path, before, os.fstat(fd))
                near = None if found is None else found.mounts_into(self._reference)
                blob = sink.commit(mediatype.ZSTD, task, mount_from=near)
                tables = self._store_tables(packed, near)
        store.push_blob(EMPTY, _empty)
        manifest = empty_config_manifest(
            (replace(blob, annotations={keys.TITLE: title}),),
            artifact_type=mediatype.DISK_ARTIFACT,
            annotations={
                keys.TOC: _sized(tables.toc),
                keys.DISK: str(packed.toc.disk),
                **({keys.CRUMBS: _sized(tables.crumbs)} if tables.crumbs else {}),
                keys.LEVEL: str(self._level),
            },
        )
        described = put_manifest(store, manifest.to_bytes(), manifest.media_type)
        referrer = empty_config_manifest(tables.layers, artifact_type=mediatype.TOC_ARTIFACT, subject=described.bare())
        put_manifest(store, referrer.to_bytes(), referrer.media_type)
        return (
            _report(disk, title, described, manifest, "pushed", _used(found, guide)),
            replace(
                described.bare(),
                annotations={keys.DISKTYPE: str(disk.disk_type)},
                platform=Platform(disk.architecture.value, "linux"),
            ),
        )

    def _guide(self, found: FoundBase, stack: ExitStack) -> Guide:
        level = found.level()
        if level is not None and level < self._level:
            # Whoever asks for a higher level wants smaller frames, not those of the base.
            return Guide(found.base)
        frames = stack.enter_context(found.frames(self._jobs, self._progress))
        return Guide(found.base, Takeover(frames, self._progress.note))

    def _store_tables(self, packed: Packed, near: str | None) -> _Tables:
        """Store what goes with the blob."""
        toc, crumbs, hints = packed.toc.encode(), packed.crumbs, packed.toc.hints
        tables = _Tables(
            Descriptor.of(mediatype.TOC, toc, annotations={keys.TITLE: "disk.toc"}),
            Descriptor(mediatype.HINTS, hints.digest, hints.size, annotations={keys.TITLE: "disk.hints"}),
            Descriptor.of(mediatype.CRUMBS, crumbs, annotations={keys.TITLE: "disk.crumbs"}) if crumbs else None,
        )
        self._store.push_blob(tables.toc, lambda: io.BytesIO(toc), mount_from=near)
        self._store.push_blob(tables.hints, packed.hints, mount_from=near)
        if tables.crumbs is not None:
            self._store.push_blob(tables.crumbs, lambda: io.BytesIO(crumbs), mount_from=near)
        return tables

    def _present(
        self, fd: int, disk: _Planned, title: str, index: Index | None
    ) -> tuple[PushedDisk, Descriptor] | None:
        """Return the entry the tag has, if it is this very disk under this title."""
        key = ("linux", disk.architecture.value, disk.disk_type.value)
        entry = next((each for each in index.manifests if entry_key(each) == key), None) if index else None
        if entry is None:
            return None
        try:
            manifest = self._store.manifest(entry.digest).parse(f"manifest {entry.digest.short}")
            if not isinstance(manifest, Manifest) or len(manifest.layers) != 1 or manifest.layers[0].title != title:
                return None
            stated = SizedDigest.parse(manifest.annotations.get(keys.DISK, ""), keys.DISK)
            toc = SizedDigest.parse(manifest.annotations.get(keys.TOC, ""), keys.TOC)
            size = os.fstat(fd).st_size
            toc_blob = Descriptor(mediatype.TOC, toc.digest, toc.size)
            if stated.size != size or not self._store.has_blob(manifest.layers[0]):
                return None
            # Hashing all of a disk is the dearest part of a push: most others are told at their first frame.
            if not has_frames(fd, Toc.decode(read_blob(self._store, toc_blob, MAX_TOC_BYTES, "table of contents"))):
                return None
            with self._progress.task(f"comparing {disk.disk_type}", size) as task:
                if hash_file(fd, task) != stated:
                    return None
        except (ContentError, NotFoundError):
            return None
        return _report(disk, title, entry, manifest, "present"), entry


def _used(found: FoundBase | None, guide: Guide | None) -> PushedBase | None:
    if found is None or guide is None:
        return None
    taken = guide.takeover
    return PushedBase(found.pinned, taken.frames if taken else 0, taken.bytes if taken else 0)


def _report(
    disk: _Planned,
    title: str,
    entry: Descriptor,
    manifest: Manifest,
    status: str,
    base: PushedBase | None = None,
) -> PushedDisk:
    blob = manifest.layers[0]
    toc = SizedDigest.parse(manifest.annotations[keys.TOC], keys.TOC)
    return PushedDisk(
        architecture=disk.architecture.value,
        disk_type=disk.disk_type.value,
        title=title,
        manifest=entry.digest,
        blob=SizedDigest(blob.digest, blob.size),
        disk=SizedDigest.parse(manifest.annotations[keys.DISK], keys.DISK),
        toc=toc,
        frames=toc_frames(toc.size),
        status="present" if status == "present" else "pushed",
        base=base,
    )


def _sized(blob: Descriptor) -> str:
    return str(SizedDigest(blob.digest, blob.size))


def _require_unchanged(path: Path, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise ContentError(
            f"{path} was written to while it was read: half of it may be old, half new",
            hint="stop the machine that uses it, or push a copy",
        )


def _empty() -> BinaryIO:
    return io.BytesIO(b"{}")


def _processors() -> int:
    return len(os.sched_getaffinity(0))
