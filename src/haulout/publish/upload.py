"""One disk of a push: compressed and uploaded, unless the tag holds it already."""

from __future__ import annotations

import io
import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from haulout.content import read_blob
from haulout.errors import ContentError, NotFoundError
from haulout.frames import MAX_TOC_BYTES, FrameReuse, Guide, Packed, Toc, has_frames, hash_file, pack, toc_frames
from haulout.local import open_regular, storage_errors
from haulout.oci import Descriptor, Digest, Manifest, Platform, RegistryReference, SizedDigest, mediatype
from haulout.oci import annotations as keys
from haulout.publish.index import entry_of, tables_entry, tables_of
from haulout.publish.manifests import put_artifact, put_empty_config
from haulout.publish.results import PushedBase, PushedDisk
from haulout.resolve import title_for

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.content import Store
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Index, Reference
    from haulout.progress import Progress
    from haulout.publish.annotations import AskedAnnotations
    from haulout.publish.base import Bases, FoundBase


@dataclass(frozen=True, slots=True)
class UploadedDisk:
    """A disk that the store holds."""

    report: PushedDisk
    entry: Descriptor
    """What the tag's index is to hold."""
    tables: Descriptor
    """The entry of its tables there."""
    toc: Toc


class DiskUploader:
    """Puts disks into one store.

    Args:
        store: open for writing.
        reference: what the store is open for.
        index: what the tag holds at the beginning.
        bases: finds earlier versions; None: there are to be none.
        name: first part of the titles.
        level: zstd level.
        jobs: frames compressed at a time.
        annotations: of manifests and entries.
        progress: receives the work.
    """

    def __init__(  # noqa: PLR0913 - each is one word of the request
        self,
        store: Store,
        reference: Reference,
        index: Index | None,
        bases: Bases | None,
        *,
        name: str,
        level: int,
        jobs: int,
        annotations: AskedAnnotations,
        progress: Progress,
    ) -> None:
        self._store = store
        self._reference = reference
        self._index = index
        self._bases = bases
        self._name = name
        self._level = level
        self._jobs = jobs
        self._annotations = annotations
        self._progress = progress
        self._numbered = ""

    def put(
        self, path: Path, architecture: Architecture, disk_type: DiskType, *, place: tuple[int, int] = (1, 1)
    ) -> UploadedDisk:
        """Put the disk in a file into the store.

        Args:
            path: the file.
            architecture: whose disk it is.
            disk_type: which hypervisor's.
            place: which of how many disks it is, for people.

        Raises:
            HauloutError: see the tree in :mod:`haulout.errors`.
        """
        self._numbered = f", disk {place[0]} of {place[1]}" if place[1] > 1 else ""
        title = title_for(self._name, architecture, disk_type)
        with open_regular(path) as fd, storage_errors(path):
            entry = None if self._index is None else entry_of(self._index, architecture, disk_type)
            present = None if entry is None else self._present(fd, entry, title, disk_type)
            if entry is not None and present is not None:
                manifest, toc, tables = present
                status: Literal["present", "pushed"] = "present"
                if not self._annotations.manifest.items() <= manifest.annotations.items():
                    described, manifest, tables = self._annotated(manifest, toc)
                    entry, status = replace(entry, digest=described.digest, size=described.size), "pushed"
                entry = replace(entry, annotations={**entry.annotations, **self._annotations.entry})
                return UploadedDisk(_report(architecture, disk_type, status, entry, manifest), entry, tables, toc)
            size = os.fstat(fd).st_size
            found = None if self._bases is None else self._bases.find(architecture, disk_type, size)
            described, manifest, tables, toc, base = self._upload(fd, path, title, disk_type, found)
        platform = Platform(architecture.value, "linux")
        stated = {keys.DISKTYPE: str(disk_type), **self._annotations.entry}
        entry = replace(described.bare(), annotations=stated, platform=platform)
        return UploadedDisk(_report(architecture, disk_type, "pushed", entry, manifest, base), entry, tables, toc)

    def _present(
        self, fd: int, entry: Descriptor, title: str, disk_type: DiskType
    ) -> tuple[Manifest, Toc, Descriptor] | None:
        """Return manifest, table and tables' entry of an entry, if it is the disk open at ``fd`` under this title."""
        try:
            manifest = self._store.manifest(entry.digest).parse(f"manifest {entry.digest.short}")
            if not isinstance(manifest, Manifest) or len(manifest.layers) != 1 or manifest.layers[0].title != title:
                return None
            stated = SizedDigest.parse(manifest.annotations.get(keys.DISK, ""), keys.DISK)
            blob = SizedDigest.parse(manifest.annotations.get(keys.TOC, ""), keys.TOC)
            size = os.fstat(fd).st_size
            if stated.size != size or not self._store.has_blob(manifest.layers[0]):
                return None
            described = Descriptor(mediatype.TOC, blob.digest, blob.size)
            toc = Toc.decode(read_blob(self._store, described, MAX_TOC_BYTES, "table of contents"))
            # Hashing a whole disk is the most expensive part of a push: most others differ in their first frame.
            if not has_frames(fd, toc):
                return None
            with self._progress.task(f"comparing {disk_type}{self._numbered}", size) as task:
                if hash_file(fd, task) != stated:
                    return None
            tables = self._tables_there(entry, manifest, toc)
        except (ContentError, NotFoundError):
            return None
        return None if tables is None else (manifest, toc, tables)

    def _tables_there(self, disk: Descriptor, manifest: Manifest, toc: Toc) -> Descriptor | None:
        """Return the entry of the tables of a disk that is there; None where some of them are not."""
        assert self._index is not None
        for entry in self._index.manifests:
            if tables_of(entry) == disk.digest:
                return entry
        # Releases before 0.3 attached them to the disk: they are the same blobs, and get a manifest in the index.
        tables = _tables_of(manifest, toc)
        return self._put_manifest(tables, disk.digest) if all(map(self._store.has_blob, tables)) else None

    def _annotated(self, manifest: Manifest, toc: Toc) -> tuple[Descriptor, Manifest, Descriptor]:
        """Store the manifest of a disk that is there under further annotations, and that of its tables."""
        stated = {**manifest.annotations, **self._annotations.manifest}
        described, manifest = put_artifact(self._store, manifest.layers, mediatype.DISK_ARTIFACT, annotations=stated)
        return described, manifest, self._put_manifest(_tables_of(manifest, toc), described.digest)

    def _put_manifest(self, tables: tuple[Descriptor, ...], disk: Digest) -> Descriptor:
        stated = {keys.REFERENCE_DIGEST: str(disk), keys.REFERENCE_TYPE: keys.TABLES}
        return tables_entry(put_artifact(self._store, tables, mediatype.TOC_ARTIFACT, annotations=stated)[0], disk)

    def _upload(
        self, fd: int, path: Path, title: str, disk_type: DiskType, found: FoundBase | None
    ) -> tuple[Descriptor, Manifest, Descriptor, Toc, PushedBase | None]:
        with self._store.ingest() as sink, ExitStack() as stack:
            guide = None if found is None else self._guide(found, stack)
            before = os.fstat(fd)
            with self._progress.task(f"compressing {disk_type}{self._numbered}", before.st_size) as task:
                packed = pack(fd, sink, level=self._level, jobs=self._jobs, task=task, guide=guide)
            with packed, self._progress.task(f"uploading {disk_type}{self._numbered}", packed.toc.blob_size) as task:
                _require_unchanged(path, before, os.fstat(fd))
                near = self._mountable(found)
                put_empty_config(self._store, near)
                blob = sink.commit(mediatype.ZSTD, task, mount_from=near)
                tables = self._put_tables(packed, near)
        sized = [str(SizedDigest(each.digest, each.size)) for each in tables]
        annotations = {
            keys.TOC: sized[0],
            keys.DISK: str(packed.toc.disk),
            **({keys.CRUMBS: sized[2]} if packed.small_frames else {}),
            keys.LEVEL: str(self._level),
            **self._annotations.manifest,
        }
        layers = (replace(blob, annotations={keys.TITLE: title}),)
        described, manifest = put_artifact(self._store, layers, mediatype.DISK_ARTIFACT, annotations=annotations)
        entry = self._put_manifest(tables, described.digest)
        base = None
        if found is not None and guide is not None:
            taken = guide.reuse
            base = PushedBase(found.pinned, taken.frames if taken else 0, taken.bytes if taken else 0)
        return described, manifest, entry, packed.toc, base

    def _mountable(self, found: FoundBase | None) -> str | None:
        """Return the repository that most likely has what is about to be stored; None where nothing can be mounted."""
        here = self._reference
        if not isinstance(here, RegistryReference):
            return None
        return (found and found.mounts_into(here)) or here.repository

    def _guide(self, found: FoundBase, stack: ExitStack) -> Guide:
        level = found.level()
        if level is not None and level < self._level:
            # A higher level is asked for to get smaller frames, not those of the base.
            return Guide(found.base)
        frames = stack.enter_context(found.frames(self._jobs, self._progress))
        return Guide(found.base, FrameReuse(frames, self._progress.note))

    def _put_tables(self, packed: Packed, near: str | None) -> tuple[Descriptor, ...]:
        """Store what goes with the blob: table of contents, hints, and the bundle of small frames if there is one."""
        toc, crumbs, hints = packed.toc.encode(), packed.small_frames, packed.toc.hints
        named = [toc, crumbs] if crumbs else [toc]
        first, *rest = (SizedDigest(Digest.of(data), len(data)) for data in named)
        tables = _described(first, hints, *rest)
        sources = (lambda: io.BytesIO(toc), packed.hints, lambda: io.BytesIO(crumbs))
        for each, source in zip(tables, sources, strict=False):
            self._store.push_blob(each, source, mount_from=near)
        return tables


def _report(
    architecture: Architecture,
    disk_type: DiskType,
    status: Literal["pushed", "present"],
    entry: Descriptor,
    manifest: Manifest,
    base: PushedBase | None = None,
) -> PushedDisk:
    blob = manifest.layers[0]
    toc = SizedDigest.parse(manifest.annotations[keys.TOC], keys.TOC)
    return PushedDisk(
        architecture=architecture.value,
        disk_type=disk_type.value,
        title=blob.title or "",
        status=status,
        manifest=entry.digest,
        blob=SizedDigest(blob.digest, blob.size),
        disk=SizedDigest.parse(manifest.annotations[keys.DISK], keys.DISK),
        toc=toc,
        frames=toc_frames(toc.size),
        base=base,
    )


_TABLES: Final = ((mediatype.TOC, "disk.toc"), (mediatype.HINTS, "disk.hints"), (mediatype.CRUMBS, "disk.crumbs"))


def _described(*tables: SizedDigest) -> tuple[Descriptor, ...]:
    """Describe table of contents, hints and, if there is one, the bundle of small frames as layers."""
    return tuple(
        Descriptor(media_type, each.digest, each.size, {keys.TITLE: title})
        for each, (media_type, title) in zip(tables, _TABLES, strict=False)
    )


def _tables_of(manifest: Manifest, toc: Toc) -> tuple[Descriptor, ...]:
    layers = [_sized(manifest, keys.TOC), toc.hints, _sized(manifest, keys.CRUMBS)]
    return _described(*(layer for layer in layers if layer is not None))


def _sized(manifest: Manifest, key: str) -> SizedDigest | None:
    text = manifest.annotations.get(key)
    return None if text is None else SizedDigest.parse(text, key)


def _require_unchanged(path: Path, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise ContentError(
            f"{path} was written to while it was read: half of it may be old, half new",
            hint="stop the machine that uses it, or push a copy",
        )
