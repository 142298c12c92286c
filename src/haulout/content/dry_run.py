"""A store that writes nothing: it reads through to a real one, and remembers what would have been written."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from haulout.content.remember import Remembered, RememberingStore
from haulout.errors import DeletionRefused
from haulout.oci import Descriptor, Digest, parse_any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from haulout.content.ports import BlobStream, Store, StoredManifest
    from haulout.progress import Task


class DryRunStore(RememberingStore):
    """Stands for ``store`` in a rehearsal; what was "written" is read again from here.

    Args:
        store: open for reading; it sees no request that changes anything.
    """

    def __init__(self, store: Store) -> None:
        self._written = Remembered()
        super().__init__(store, self._written)
        self.missing: dict[Digest, Descriptor] = {}
        """Blobs that would have been sent. What a registry could mount counts as well: only trying tells."""
        self._tagged: dict[str, Digest] = {}
        self.ingest = self._measured
        self.exclusive = lambda: contextlib.nullcontext(True)
        self.can_delete = lambda: False
        self.delete_tag = self._deletes_nothing

    def manifest(self, selector: str | Digest) -> StoredManifest:
        """Read a manifest, those that would have been written first."""
        return super().manifest(self._tagged.get(selector, selector) if isinstance(selector, str) else selector)

    def open_blob(self, blob: Descriptor, start: int = 0, stop: int | None = None) -> BlobStream:
        """Open bytes of a blob that is there."""
        return self._store.open_blob(blob, start, stop)

    def push_blob(
        self,
        blob: Descriptor,
        source: Callable[[], BinaryIO],  # noqa: ARG002 - nothing is read
        task: Task | None = None,
        *,
        mount_from: str | None = None,  # noqa: ARG002 - a mount writes
    ) -> bool:
        """Return whether the blob would be sent."""
        is_missing = not self.has_blob(blob)
        if is_missing:
            self.missing[blob.digest] = blob
            self._written.blobs.add(blob.digest)
        if task is not None:
            task.advance(blob.size)
        return is_missing

    def push_manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        """Keep a manifest here."""
        from haulout.content.ports import StoredManifest  # noqa: PLC0415 - as in the class above

        described = Descriptor.of(parse_any(data, "manifest to store", media_type).media_type, data)
        self._written.manifests[described.digest] = StoredManifest(described, data)
        if tag is not None:
            self._tagged[tag] = described.digest
        return described

    def delete_manifest(self, digest: Digest, *, refers: bool = True) -> None:  # noqa: ARG002 - nothing is deleted
        """Refuse, as a place that does not delete."""
        self._deletes_nothing(str(digest))

    def _deletes_nothing(self, tag: str) -> None:
        raise DeletionRefused(tag, "a dry run")

    def _measured(self) -> AbstractContextManager[_Measure]:
        return contextlib.nullcontext(_Measure(self))


class _Measure:
    """A blob of which only size and digest are wanted."""

    def __init__(self, store: DryRunStore) -> None:
        self._store = store
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)
        self._size += len(data)

    def commit(self, media_type: str, task: Task | None = None, *, mount_from: str | None = None) -> Descriptor:
        described = Descriptor(media_type, Digest(self._hash.hexdigest()), self._size)
        self._store.push_blob(described, _nothing, task, mount_from=mount_from)
        return described


def _nothing() -> BinaryIO:
    raise AssertionError("a dry run sends nothing")
