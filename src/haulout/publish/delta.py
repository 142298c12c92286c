"""Making a delta between two published disks, and attaching it to the newer one."""

from __future__ import annotations

import io
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from haulout.errors import ContentError
from haulout.frames import BLOCK, hash_file, holds, make_delta, require_disk
from haulout.local import large_folder, open_regular
from haulout.oci import Descriptor, SizedDigest, mediatype
from haulout.oci import annotations as keys
from haulout.publish.base import StoredDisk
from haulout.publish.manifests import put_artifact
from haulout.publish.results import PublishedDelta
from haulout.resolve import load_toc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import Literal

    from haulout.content import Store
    from haulout.frames import Toc
    from haulout.oci import Digest
    from haulout.progress import Progress


@dataclass(frozen=True, slots=True)
class DeltaEnd(StoredDisk):
    """One of the two disks."""

    toc: Toc | None
    file: Path | None = None
    """The plain disk, where it is here."""

    @classmethod
    def of(cls, disk: StoredDisk, progress: Progress, file: Path | None = None) -> Self:
        """Read the table of contents of a disk.

        Raises:
            ContentError: it is not that of the disk.
        """
        return cls(disk.store, disk.found, load_toc(disk.store, disk.found, progress), file)

    @property
    def disk(self) -> SizedDigest | None:
        """The plain disk; None where its publisher does not say: then it is hashed."""
        return self.toc.disk if self.toc is not None else self.found.disk


@dataclass(frozen=True, slots=True)
class AttachedDelta:
    """A delta that is attached to the new disk, with an index that was read and is right."""

    manifest: Digest
    source: SizedDigest
    index: Descriptor
    hints: Descriptor | None
    data: Descriptor
    new: int
    """Plain bytes that it gives."""
    segments: int


class DeltaFetching(Protocol):
    """What the making of deltas needs of fetching."""

    def pull(self, end: DeltaEnd, target: Path, seeds: Sequence[Path]) -> None:
        """Pull a disk to ``target``, reusing blocks of ``seeds``."""

    def attached(self, end: DeltaEnd, toc: Toc, source: SizedDigest) -> Iterable[AttachedDelta]:
        """Return the deltas to a disk that are from ``source``."""


class DeltaMaker:
    """Makes deltas.

    Args:
        fetching: how disks and deltas are fetched.
        level: zstd level, 1 to 22.
        jobs: segments compressed at a time.
        progress: receives the work.
    """

    def __init__(self, fetching: DeltaFetching, *, level: int, jobs: int, progress: Progress) -> None:
        self._fetching = fetching
        self._level = level
        self._jobs = jobs
        self._progress = progress

    def make(
        self, older: DeltaEnd, newer: DeltaEnd, writable: Callable[[], Store], *, again: bool = False
    ) -> PublishedDelta:
        """Make a delta and attach it, unless one is attached already or none is needed.

        Args:
            older: the disk that people have.
            newer: the disk that they will pull.
            writable: opens the place of ``newer`` for writing; called only if there is something to write.
            again: make it even where one is attached.

        Raises:
            HauloutError: see the tree in :mod:`haulout.errors`; nothing is attached then.
        """
        toc = newer.toc
        if toc is None:
            raise ContentError(
                f"{newer.found.pinned} has no table of contents, which a delta needs",
                hint="publish it with haulout push",
            )
        if older.disk is not None and (there := self._there(older, newer, toc, older.disk, again=again)):
            return there
        with ExitStack() as stack:
            old = older.file or self._pulled(stack, older, newer.file)
            source = self._checked(old, older)
            if older.disk is None and (there := self._there(older, newer, toc, source, again=again)):
                return there
            new = newer.file or self._pulled(stack, newer, old)
            return self._put(older, newer, toc, source, (old, new), writable())

    def _there(
        self, older: DeltaEnd, newer: DeltaEnd, toc: Toc, source: SizedDigest, *, again: bool
    ) -> PublishedDelta | None:
        """Return the result where nothing has to be made."""
        if source == toc.disk:
            return _result(older, newer, source, toc, None, "needless")
        for made in () if again else self._fetching.attached(newer, toc, source):
            if all(newer.store.has_blob(blob) for blob in (made.hints, made.data) if blob is not None):
                return _result(older, newer, source, toc, made, "present")
        return None

    def _pulled(self, stack: ExitStack, end: DeltaEnd, seed: Path | None) -> Path:
        target = large_folder(stack) / "disk"
        self._fetching.pull(end, target, () if seed is None else (seed,))
        return target

    def _checked(self, path: Path, older: DeltaEnd) -> SizedDigest:
        """Return the digest of the old disk, once the file at ``path`` is known to be it."""
        with open_regular(path, "a disk file", must_exist=True) as fd:
            size = os.fstat(fd).st_size
            if older.toc is not None:
                with self._progress.task("checking the old disk", older.toc.data_bytes) as task:
                    if size != older.toc.disk.size or not holds(fd, older.toc, self._jobs, task):
                        raise ContentError(
                            f"{path} is not the disk that {older.found.pinned} holds",
                            hint="name the file as it was pushed or pulled, never booted; or leave it out, to pull it",
                        )
                return older.toc.disk
            with self._progress.task("hashing the old disk", size) as task:
                actual = hash_file(fd, task)
            if older.disk is not None:
                require_disk(actual, older.disk)
            return actual

    def _put(
        self, older: DeltaEnd, newer: DeltaEnd, toc: Toc, source: SizedDigest, files: tuple[Path, Path], store: Store
    ) -> PublishedDelta:
        old, new = files
        with (
            open_regular(old, "a disk file", must_exist=True) as old_fd,
            open_regular(new, "a disk file", must_exist=True) as new_fd,
            store.ingest() as sink,
        ):
            made = make_delta(
                old_fd, new_fd, source, toc, sink, level=self._level, jobs=self._jobs, progress=self._progress
            )
            if made is None:
                return _result(older, newer, source, toc, None, "needless")
            with self._progress.task("uploading the delta", made.index.data_size) as task:
                data = sink.commit(mediatype.DELTA_DATA, task)
        encoded = made.index.encode()
        index, hints = Descriptor.of(mediatype.DELTA_INDEX, encoded), None
        store.push_blob(index, lambda: io.BytesIO(encoded))
        # Not every registry takes an empty blob.
        if made.hints:
            hints = Descriptor.of(mediatype.DELTA_HINTS, made.hints)
            store.push_blob(hints, lambda: io.BytesIO(made.hints))
        there = {entry.digest for entry in newer.store.referrers(newer.found.digest, mediatype.DELTA_ARTIFACT)}
        described, _ = put_artifact(
            store,
            (index, data) if hints is None else (index, hints, data),
            mediatype.DELTA_ARTIFACT,
            subject=newer.found.stored.descriptor.bare(),
            annotations={keys.DELTA_FROM: str(source)},
        )
        new_bytes, segments = made.index.new_blocks * BLOCK, len(made.index.segments)
        delta = AttachedDelta(described.digest, source, index, hints, data, new_bytes, segments)
        return _result(older, newer, source, toc, delta, "present" if described.digest in there else "pushed")


def _result(
    older: DeltaEnd,
    newer: DeltaEnd,
    source: SizedDigest,
    toc: Toc,
    delta: AttachedDelta | None,
    status: Literal["pushed", "present", "needless"],
) -> PublishedDelta:
    found = newer.found
    return PublishedDelta(
        reference=found.reference,
        pinned=found.pinned,
        old=older.found.pinned,
        architecture=found.architecture,
        disk_type=found.disk_type,
        source=source,
        disk=toc.disk,
        blob=_sized(found.layer),
        manifest=delta.manifest if delta else None,
        index=_sized(delta.index) if delta else None,
        data=_sized(delta.data) if delta else None,
        hints=_sized(delta.hints) if delta and delta.hints else None,
        new=delta.new if delta else 0,
        segments=delta.segments if delta else 0,
        status=status,
    )


def _sized(blob: Descriptor) -> SizedDigest:
    return SizedDigest(blob.digest, blob.size)
