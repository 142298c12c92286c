"""A store that fetches nothing twice that cannot change: manifests by digest, and the tables that go with disks."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import HauloutError, StorageError
from haulout.oci import Digest, mediatype

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from haulout.content.ports import BlobStream, Store, StoredManifest
    from haulout.local import ScratchFile
    from haulout.oci import Descriptor
    from haulout.progress import Task, Traffic

_TABLES: Final = frozenset({mediatype.TOC, mediatype.HINTS, mediatype.CRUMBS, mediatype.DELTA_INDEX})
_MOST_MANIFESTS: Final = 16 << 20
"""Bytes of manifests that are kept in memory."""


class Remembered:
    """What is known of one place, for all stores that are open on it. Close it when done."""

    def __init__(self) -> None:
        self.blobs: set[Digest] = set()
        """Blobs known to be there."""
        self.referrers: dict[tuple[Digest, str | None], tuple[Descriptor, ...]] = {}
        self.manifests: dict[Digest, StoredManifest] = {}
        self.tables: dict[Digest, ScratchFile] = {}
        """In files without a name, so that memory stays flat."""
        self._room = _MOST_MANIFESTS

    def keep(self, stored: StoredManifest) -> StoredManifest:
        """Keep a manifest, while there is room."""
        if stored.descriptor.digest not in self.manifests and len(stored.data) <= self._room:
            self._room -= len(stored.data)
            self.manifests[stored.descriptor.digest] = stored
        return stored

    def close(self) -> None:
        """Give the room back."""
        for file in self.tables.values():
            file.close()
        self.tables.clear()


class RememberingStore:
    """A :class:`~haulout.content.Store` over another one, which it closes.

    Tags are read anew each time: they change. The list of referrers of a manifest is read once, and again after
    anything was written here.

    Args:
        store: what is asked for all that is not known.
        known: what is known of its place.
        mirrored: whether what is read may come from another place, so that it need not be in this one.
    """

    def __init__(self, store: Store, known: Remembered, *, mirrored: bool = False) -> None:
        self._store = store
        self._known = known
        self._mirrored = mirrored
        self.ingest = store.ingest
        self.tags = store.tags
        self.exclusive = store.exclusive
        self.can_delete = store.can_delete
        self.delete_tag = store.delete_tag
        self.distrust = store.distrust
        self.close = store.close

    @property
    def traffic(self) -> Traffic:
        """What has crossed the wire for this store."""
        return self._store.traffic

    def manifest(self, selector: str | Digest) -> StoredManifest:
        """Read a manifest, by digest only once."""
        known = self._known.manifests.get(selector) if isinstance(selector, Digest) else None
        return known or self._known.keep(self._store.manifest(selector))

    def open_blob(self, blob: Descriptor, start: int = 0, stop: int | None = None) -> BlobStream:
        """Open bytes of a blob; those of a table that was read whole and was right come from here."""
        kept = self._known.tables.get(blob.digest)
        if kept is not None and kept.size == blob.size:
            return _KeptStream(kept.opened(), start, blob.size if stop is None else stop)
        stream = self._store.open_blob(blob, start, stop)
        if blob.media_type not in _TABLES or blob.data is not None or (stream.start, stream.stop) != (0, blob.size):
            return stream
        return _RecordingStream(stream, blob, self._keep)

    def _keep(self, blob: Descriptor, file: ScratchFile) -> bool:
        if not self._mirrored:
            self._known.blobs.add(blob.digest)
        return self._known.tables.setdefault(blob.digest, file) is file

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether the place has a blob; asked until it has it."""
        if blob.digest not in self._known.blobs and self._store.has_blob(blob):
            self._known.blobs.add(blob.digest)
        return blob.digest in self._known.blobs

    def push_blob(
        self,
        blob: Descriptor,
        source: Callable[[], BinaryIO],
        task: Task | None = None,
        *,
        mount_from: str | None = None,
    ) -> bool:
        """Store a blob that is not known to be there."""
        if blob.digest not in self._known.blobs:
            was_sent = self._store.push_blob(blob, source, task, mount_from=mount_from)
            self._known.blobs.add(blob.digest)
            return was_sent
        if task is not None:
            task.advance(blob.size)
        return False

    def push_manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        """Store a manifest; where that fails, blobs have to be looked for again."""
        self._known.referrers.clear()
        try:
            described = self._store.push_manifest(data, media_type, tag)
        except HauloutError:
            self._known.blobs.clear()
            raise
        from haulout.content.ports import StoredManifest  # noqa: PLC0415 - readers are not to wait for it

        self._known.keep(StoredManifest(described, data))
        return described

    def delete_manifest(self, digest: Digest, *, refers: bool = True) -> None:
        """Delete a manifest; nothing of it is known any more."""
        self._known.referrers.clear()
        self._known.manifests.pop(digest, None)
        self._store.delete_manifest(digest, refers=refers)

    def referrers(self, subject: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """List what points at a manifest."""
        key = (subject, artifact_type)
        if key not in self._known.referrers:
            self._known.referrers[key] = self._store.referrers(subject, artifact_type)
        return self._known.referrers[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _KeptStream:
    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self._file = file
        file.seek(start)

    def read(self, amount: int) -> bytes:
        return self._file.read(min(amount, self.stop - self._file.tell()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()


class _RecordingStream:
    """Passes a whole blob on, and keeps it if it turns out to be what its digest says."""

    def __init__(self, stream: BlobStream, blob: Descriptor, keep: Callable[[Descriptor, ScratchFile], bool]) -> None:
        self.start = stream.start
        self.stop = stream.stop
        self._stream = stream
        self._blob = blob
        self._keep = keep
        self._hash = hashlib.sha256()
        self._file: ScratchFile | None = None
        self._kept = False

    def read(self, amount: int) -> bytes:
        data = self._stream.read(amount)
        self._recorded(data)
        return data

    def _recorded(self, data: bytes) -> None:
        self._hash.update(data)
        try:
            from haulout.local import ScratchFile  # noqa: PLC0415 - not needed before the first table

            self._file = self._file or ScratchFile("a table of a disk", "it")
            self._file.append(data)
        except StorageError:
            # Keeping it only saves.
            return
        complete = data and self._file.size == self._blob.size
        if complete and self._hash.hexdigest() == self._blob.digest.hex and self._keep(self._blob, self._file):
            self._kept = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.__exit__(*exc)
        if self._file is not None and not self._kept:
            self._file.close()
