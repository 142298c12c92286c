"""Container disks (KubeVirt, crun-vm, CDI): an ordinary container image whose one layer holds a disk under ``/disk/``.

It stands in the index beside the disks, under Go's name of the architecture, so that a container engine takes it; and
with a ``disktype`` of its own, so that Podman machine and Ironic pass it over (docs/adr/0041).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from haulout.disk import DiskType
from haulout.errors import ContentError, NotFoundError, UsageError
from haulout.local import open_regular, storage_errors
from haulout.oci import Descriptor, Index, Manifest, Platform, SizedDigest, json, mediatype
from haulout.oci import annotations as keys
from haulout.publish.index import entry_of
from haulout.publish.results import PushedContainerDisk
from haulout.resolve import CONTAINER_DISK, Role, classify

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from haulout.content import Store
    from haulout.oci import Architecture
    from haulout.progress import Progress
    from haulout.publish.annotations import AskedAnnotations

_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_OWNER: Final = 107
"""User and group of qemu in KubeVirt's launcher, to whom the file has to belong."""
_EPOCH: Final = "1970-01-01T00:00:00Z"
_LEVEL: Final = 6
_STEP: Final = 1 << 20
"""Bytes of one gzip member: they are compressed in parallel, and readers of layers take one after another."""
_TAKEN: Final = (DiskType.QEMU, DiskType.APPLEHV)
"""What KubeVirt boots: qcow2 and raw, in the order of preference."""
_CONVERTED: Final = frozenset({DiskType.HYPERV, DiskType.VMDK})
"""Other types, of which ``--also`` makes a qcow2."""


@dataclass(frozen=True, slots=True)
class DiskOf:
    """A plain disk in a file, and whose it is."""

    path: Path
    architecture: Architecture
    disk: SizedDigest


def container_disk_sources(disks: Sequence[tuple[Architecture, DiskType]]) -> list[int]:
    """Return which of some disks become container disks: for each architecture the qcow2, else the raw one. Pure.

    Raises:
        UsageError: an architecture has neither.
    """
    chosen: list[int] = []
    for architecture in dict.fromkeys(architecture for architecture, _ in disks):
        numbers = [disks.index((architecture, kind)) for kind in _TAKEN if (architecture, kind) in disks]
        if not numbers:
            converts = any(other == architecture and kind in _CONVERTED for other, kind in disks)
            raise UsageError(
                f"a container disk for {architecture} is made of a qcow2 or raw disk, and there is none",
                hint="convert to one, too: --also qemu"
                if converts
                else "leave --container-disk out, or push a qcow2 or raw disk with it: --disk ARCH/qemu=FILE",
            )
        chosen.append(numbers[0])
    return chosen


def require_free(index: Index | None, architectures: Sequence[Architecture]) -> None:
    """Check that no other container image stands in the index for the same processors: engines take the first.

    Raises:
        UsageError: there is one.
    """
    for entry in () if index is None else index.manifests:
        found = classify(entry)
        if found.role is Role.CONTAINER and found.architecture is not None and found.architecture in architectures:
            raise UsageError(
                f"the tag holds another container image for {found.architecture.go}, which engines would take",
                hint="push the container disk to a tag of its own",
            )


def stale_container_disks(index: Index | None, changed: Sequence[Architecture]) -> list[Architecture]:
    """Return the architectures whose container disk holds an earlier disk once these have changed. Pure."""
    return [] if index is None else [each for each in dict.fromkeys(changed) if entry_of(index, each, CONTAINER_DISK)]


def put_container_disk(
    store: Store,
    index: Index | None,
    source: DiskOf,
    file: str,
    asked: AskedAnnotations,
    *,
    jobs: int,
    progress: Progress,
) -> tuple[Descriptor, PushedContainerDisk]:
    """Store the container disk of a disk, unless the tag holds it; the same disk makes the same image, byte for byte.

    Args:
        store: open for writing.
        index: what the tag holds.
        source: the disk.
        file: its name in the image.
        asked: annotations of its manifest and its entry.
        jobs: pieces compressed at a time.
        progress: receives the work.

    Returns:
        What the tag's index is to hold, and the report.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    path, architecture, disk = source.path, source.architecture, source.disk
    entry = None if index is None else entry_of(index, architecture, CONTAINER_DISK)
    there = None if entry is None else _present(store, entry, file, disk)
    if entry is not None and there is not None:
        if asked.manifest.items() <= {**there.annotations, keys.TITLE: asked.manifest.get(keys.TITLE, "")}.items():
            entry = replace(entry, annotations={**entry.annotations, **asked.entry})
            return entry, _report(architecture, file, "present", entry, there, disk)
        return _stored(store, source, file, there, asked)
    with open_regular(path) as fd, storage_errors(path), store.ingest() as sink:
        plain = hashlib.sha256()
        with progress.task(f"making the container disk for {architecture.go}", disk.size) as task:
            for packed, taken in _compressed(_archive(fd, f"disk/{file}", disk.size, plain), jobs):
                sink.write(packed)
                task.advance(taken)
        with progress.task(f"uploading the container disk for {architecture.go}", None) as task:
            layer = sink.commit(_LAYER, task)
    config = json.dumps(
        {
            "created": _EPOCH,
            "architecture": architecture.go,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{plain.hexdigest()}"]},
            "history": [{"created": _EPOCH, "created_by": "haulout push --container-disk"}],
        }
    )
    described = Descriptor.of(mediatype.OCI_CONFIG, config)
    store.push_blob(described, lambda: io.BytesIO(config))
    return _stored(store, source, file, Manifest(described, (layer,)), asked)


def _stored(
    store: Store, source: DiskOf, file: str, manifest: Manifest, asked: AskedAnnotations
) -> tuple[Descriptor, PushedContainerDisk]:
    """Store the manifest under its annotations; ours say which disk is where, and are not to be replaced."""
    ours = {keys.TITLE: file, keys.DISK: str(source.disk)}
    manifest = replace(manifest, annotations={**manifest.annotations, **asked.manifest, **ours})
    stored = store.push_manifest(manifest.to_bytes(), manifest.media_type)
    platform = Platform(source.architecture.go, "linux")
    entry = replace(stored.bare(), annotations={keys.DISKTYPE: CONTAINER_DISK, **asked.entry}, platform=platform)
    return entry, _report(source.architecture, file, "pushed", entry, manifest, source.disk)


def _present(store: Store, entry: Descriptor, file: str, disk: SizedDigest) -> Manifest | None:
    try:
        manifest = store.manifest(entry.digest).parse(f"manifest {entry.digest.short}")
        if not isinstance(manifest, Manifest) or not all(map(store.has_blob, (manifest.config, *manifest.layers))):
            return None
    except (ContentError, NotFoundError):
        return None
    stated = manifest.annotations.get(keys.TITLE), manifest.annotations.get(keys.DISK)
    return manifest if stated == (file, str(disk)) else None


def _report(
    architecture: Architecture,
    file: str,
    status: Literal["pushed", "present"],
    entry: Descriptor,
    manifest: Manifest,
    disk: SizedDigest,
) -> PushedContainerDisk:
    blob = SizedDigest(manifest.layers[0].digest, manifest.layers[0].size)
    return PushedContainerDisk(architecture.go, f"/disk/{file}", status, entry.digest, blob, disk)


def _archive(fd: int, name: str, size: int, plain: hashlib._Hash) -> Iterator[bytes]:
    """Yield a tar archive of a file, hashed on the way, in pieces."""

    def member(path: str, kind: bytes, mode: int, length: int) -> bytes:
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.size, info.uid, info.gid = kind, mode, length, _OWNER, _OWNER
        return info.tobuf(tarfile.PAX_FORMAT)

    def pieces() -> Iterator[bytes]:
        yield member("disk/", tarfile.DIRTYPE, 0o555, 0) + member(name, tarfile.REGTYPE, 0o440, size)
        for offset in range(0, size, _STEP):
            piece = os.pread(fd, min(_STEP, size - offset), offset)
            if len(piece) < min(_STEP, size - offset):
                raise ContentError("the disk was cut while it was read", hint="stop what writes to it, or push a copy")
            yield piece
        yield bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)

    for piece in pieces():
        plain.update(piece)
        yield piece


def _compressed(pieces: Iterator[bytes], jobs: int) -> Iterator[tuple[bytes, int]]:
    """Yield each piece as a gzip member of its own, with its plain size; no more than a few are held."""
    waiting: deque[tuple[Future[bytes], int]] = deque()
    with ThreadPoolExecutor(jobs, "gzip") as pool:
        for piece in pieces:
            waiting.append((pool.submit(gzip.compress, piece, _LEVEL, mtime=0), len(piece)))
            if len(waiting) > 2 * jobs:
                future, size = waiting.popleft()
                yield future.result(), size
        while waiting:
            future, size = waiting.popleft()
            yield future.result(), size
