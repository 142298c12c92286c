"""Delta: from two published disks to a delta between them, attached to the newer one."""

from __future__ import annotations

import io
import os
import stat
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from haulout.errors import ContentError, NotFoundError, StorageError
from haulout.fetch import OfferedDelta, load_index, offered, storage_errors, workplace
from haulout.frames import BLOCK, DEFAULT_LEVEL, hash_file, holds, make_delta, require_disk
from haulout.oci import EMPTY, Architecture, Descriptor, SizedDigest, empty_config_manifest, mediatype
from haulout.oci import annotations as keys
from haulout.places import open_store, put_manifest
from haulout.progress import NullProgress, Traffic
from haulout.publish import DeltaResult
from haulout.registry import ConnectionOptions
from haulout.resolve import DiskQuery, load_toc, resolve
from haulout.usecases.pull import pull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.content import Store
    from haulout.disk import DiskType
    from haulout.frames import DeltaIndex, Toc
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk


def delta(  # noqa: PLR0913 - each is one word of the request
    old: Reference,
    new: Reference,
    *,
    architecture: Architecture | None = None,
    disk_type: DiskType | None = None,
    old_file: Path | None = None,
    new_file: Path | None = None,
    level: int = DEFAULT_LEVEL,
    again: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> DeltaResult:
    """Publish what changed from one disk to another, as a referrer of the newer one.

    Whoever holds the old disk, in whatever file, fetches little more than that. Where a delta between these two disks
    is attached already, nothing is done.

    Args:
        old: a reference to the disk that people have; it may be anywhere.
        new: a reference to the disk that they will pull, published by ``push``. The delta is put beside it.
        architecture: whose disks; None for this machine's.
        disk_type: which hypervisor's; None for qemu, or the only one there is.
        old_file: the plain old disk, if it is here; compared with what ``old`` says. None: it is pulled.
        new_file: the same of the new one.
        level: zstd level, 1 to 22.
        again: make it anew, even where one is attached.
        connections: how registries are reached.
        progress: told of the work.
        jobs: segments compressed at a time; None: one for each processor.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`; nothing is attached then.
    """
    begun = time.monotonic()
    work = _Delta(
        DiskQuery(architecture or Architecture.here(), disk_type),
        level,
        connections or ConnectionOptions(),
        progress or NullProgress(),
        jobs or len(os.sched_getaffinity(0)),
    )
    older, newer = work.find(old), work.find(new)
    made = work.run(older, old_file, newer, new_file, again=again)
    return made.result(older, newer, work.traffic, time.monotonic() - begun)


@dataclass(frozen=True, slots=True)
class _End:
    """One of the two disks."""

    found: ResolvedDisk
    toc: Toc | None
    disk: SizedDigest | None
    """None where its publisher does not say; it is hashed then."""


@dataclass(frozen=True, slots=True)
class _Made:
    source: SizedDigest
    target: SizedDigest
    offer: OfferedDelta | None
    index: DeltaIndex | None
    status: Literal["pushed", "present", "needless"]

    def result(self, older: _End, newer: _End, traffic: Traffic, seconds: float) -> DeltaResult:
        offer, index, found = self.offer, self.index, newer.found
        return DeltaResult(
            reference=found.reference,
            pinned=found.pinned,
            old=older.found.pinned,
            architecture=found.architecture,
            disk_type=found.disk_type,
            source=self.source,
            disk=self.target,
            blob=SizedDigest(found.layer.digest, found.layer.size),
            manifest=offer.manifest if offer else None,
            index=SizedDigest(offer.index.digest, offer.index.size) if offer else None,
            data=SizedDigest(offer.data.digest, offer.data.size) if offer else None,
            hints=SizedDigest(offer.hints.digest, offer.hints.size) if offer and offer.hints else None,
            new=index.new_blocks * BLOCK if index else 0,
            segments=len(index.segments) if index else 0,
            status=self.status,
            traffic=traffic,
            seconds=seconds,
        )


class _Delta:
    """The making of one delta."""

    def __init__(
        self, query: DiskQuery, level: int, connections: ConnectionOptions, progress: Progress, jobs: int
    ) -> None:
        self._query = query
        self._level = level
        self._connections = connections
        self._progress = progress
        self._jobs = jobs
        self.traffic = Traffic()

    def find(self, reference: Reference) -> _End:
        """Find one of the disks, and what is in it."""
        with self._open(reference) as store:
            found = resolve(store, reference, self._query)
            toc = load_toc(store, found, self._progress)
            return _End(found, toc, toc.disk if toc is not None else found.disk)

    def run(self, older: _End, old_file: Path | None, newer: _End, new_file: Path | None, *, again: bool) -> _Made:
        """Make the delta, unless it is there, and put it beside the new disk."""
        found, toc = newer.found, newer.toc
        if toc is None:
            raise ContentError(
                f"{found.pinned} has no table of contents, which a delta needs", hint="publish it with haulout push"
            )
        if older.disk is not None and (there := self._there(older.disk, found, toc, again=again)):
            return there
        with ExitStack() as stack:
            old = old_file or self._pulled(stack, older.found, *([new_file] if new_file else []))
            source = self._checked(old, older)
            if older.disk is None and (there := self._there(source, found, toc, again=again)):
                return there
            new = new_file or self._pulled(stack, found, old)
            with self._open(found.reference, push=True) as store:
                return self._push(store, old, new, source, found, toc)

    def _there(self, source: SizedDigest, found: ResolvedDisk, toc: Toc, *, again: bool) -> _Made | None:
        """Say so where nothing has to be made."""
        if source == toc.disk:
            return _Made(source, toc.disk, None, None, "needless")
        if again:
            return None
        with self._open(found.reference) as store:
            for offer in offered(store, found, toc, known=[source]):
                if offer.source != source:
                    continue
                try:
                    index = load_index(store, offer, toc)
                except (ContentError, NotFoundError) as error:
                    self._progress.note(f"the delta attached already is of no use ({error}): making another")
                    continue
                if all(store.has_blob(blob) for blob in (offer.hints, offer.data) if blob is not None):
                    return _Made(source, toc.disk, offer, index, "present")
        return None

    def _pulled(self, stack: ExitStack, found: ResolvedDisk, *seeds: Path) -> Path:
        pulled = pull(
            found.pinned,
            architecture=self._query.architecture,
            output=workplace(stack) / "disk",
            seeds=seeds,
            connections=self._connections,
            progress=self._progress,
        )
        self.traffic += pulled.traffic
        return pulled.path

    def _checked(self, path: Path, older: _End) -> SizedDigest:
        """Return the digest of the old disk, once the file at ``path`` is known to be it."""
        with _opened(path) as fd:
            if older.toc is not None:
                with self._progress.task("checking the old disk", older.toc.data_bytes) as task:
                    if os.fstat(fd).st_size != older.toc.disk.size or not holds(fd, older.toc, self._jobs, task):
                        raise _another(path, older)
                return older.toc.disk
            with self._progress.task("hashing the old disk", os.fstat(fd).st_size) as task:
                actual = hash_file(fd, task)
            if older.disk is not None:
                require_disk(actual, older.disk)
            return actual

    def _push(self, store: Store, old: Path, new: Path, source: SizedDigest, found: ResolvedDisk, toc: Toc) -> _Made:
        with _opened(old) as old_fd, _opened(new) as new_fd, store.ingest() as sink:
            made = make_delta(
                old_fd, new_fd, source, toc, sink, level=self._level, jobs=self._jobs, progress=self._progress
            )
            if made is None:
                return _Made(source, toc.disk, None, None, "needless")
            with self._progress.task("uploading the delta", made.index.data_size) as task:
                data = sink.commit(mediatype.DELTA_DATA, task)
        encoded = made.index.encode()
        index, hints = Descriptor.of(mediatype.DELTA_INDEX, encoded), None
        store.push_blob(index, lambda: io.BytesIO(encoded))
        # Not every registry takes an empty blob.
        if made.hints:
            hints = Descriptor.of(mediatype.DELTA_HINTS, made.hints)
            store.push_blob(hints, lambda: io.BytesIO(made.hints))
        store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        manifest = empty_config_manifest(
            (index, data) if hints is None else (index, hints, data),
            artifact_type=mediatype.DELTA_ARTIFACT,
            subject=found.stored.descriptor.bare(),
            annotations={keys.DELTA_FROM: str(source)},
        )
        attached = {entry.digest for entry in store.referrers(found.digest, mediatype.DELTA_ARTIFACT)}
        digest = put_manifest(store, manifest.to_bytes(), manifest.media_type).digest
        status: Literal["pushed", "present"] = "present" if digest in attached else "pushed"
        return _Made(source, toc.disk, OfferedDelta(digest, source, index, hints, data), made.index, status)

    @contextmanager
    def _open(self, reference: Reference, *, push: bool = False) -> Iterator[Store]:
        with open_store(reference, self._connections, self._progress, push=push) as store:
            try:
                yield store
            finally:
                self.traffic += store.traffic


def _another(path: Path, older: _End) -> ContentError:
    return ContentError(
        f"{path} is not the disk that {older.found.pinned} holds",
        hint="name the file as it was pushed or pulled, never booted; or leave it out, and it is pulled",
    )


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    with storage_errors(path):
        # Not blocking: a pipe of that name must not hold everything up.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StorageError(str(path), "is no file that holds a disk")
        yield fd
    finally:
        os.close(fd)
