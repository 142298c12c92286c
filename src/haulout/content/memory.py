"""A store in memory: for small things, and for tests at the port instead of patches."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from haulout.content.fallback import deleted_with_its_line
from haulout.content.ports import StoredManifest
from haulout.content.subjects import Subjects
from haulout.errors import DigestMismatch, NotFoundError, SizeMismatch
from haulout.oci import Descriptor, Digest, parse_any
from haulout.progress import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from haulout.progress import Task


class MemoryStore:
    """Everything in dictionaries, with the same promises and errors as the other stores."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, bytes] = {}
        self._manifests: dict[Digest, StoredManifest] = {}
        self._tags: dict[str, Digest] = {}
        self._subjects = Subjects(self._by_digest)

    def manifest(self, selector: str | Digest) -> StoredManifest:
        """Read the manifest a tag or digest names.

        Raises:
            NotFoundError: no such tag or digest.
        """
        if isinstance(selector, Digest):
            return self._by_digest(selector)
        if selector not in self._tags:
            raise NotFoundError(f"no tag {selector} in memory")
        return self._by_digest(self._tags[selector])

    def _by_digest(self, digest: Digest) -> StoredManifest:
        if digest not in self._manifests:
            raise NotFoundError(f"no manifest {digest} in memory")
        return self._manifests[digest]

    def push_manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        """Store exact bytes, under a tag or by digest alone. Idempotent.

        Raises:
            InvalidManifest: the bytes are not a manifest or index of that type.
        """
        described = Descriptor.of(parse_any(data, "manifest to store", media_type).media_type, data)
        self._manifests[described.digest] = StoredManifest(described, data)
        if tag is not None:
            self._tags[tag] = described.digest
        return described

    def can_delete(self) -> bool:
        """Return True."""
        return True

    def delete_manifest(self, digest: Digest, *, refers: bool = True) -> None:  # noqa: ARG002 - looking is cheap here
        """Delete a manifest and its tags.

        Raises:
            NotFoundError: it is not there.
        """
        stored = self._by_digest(digest)
        deleted_with_its_line(self, stored, lambda: self._forget(digest))

    def _forget(self, digest: Digest) -> None:
        self._subjects.forget(digest)
        del self._manifests[digest]
        self._tags = {tag: other for tag, other in self._tags.items() if other != digest}

    def delete_tag(self, tag: str) -> None:
        """Take a tag away.

        Raises:
            NotFoundError: it is not there.
        """
        if self._tags.pop(tag, None) is None:
            raise NotFoundError(f"no tag {tag} in memory")

    def tags(self, prefix: str = "", *, optional: bool = False) -> Iterator[str]:  # noqa: ARG002 - never busy
        """Yield the tags that begin with ``prefix``, in lexical order."""
        return (tag for tag in sorted(self._tags) if tag.startswith(prefix))

    def referrers(self, subject: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """List what points at ``subject``."""
        roots = [stored.descriptor for stored in self._manifests.values()]
        return self._subjects.referrers(roots, subject, artifact_type)

    def open_blob(self, blob: Descriptor, start: int = 0, stop: int | None = None) -> MemoryStream:
        """Open bytes ``[start, stop)`` of a blob, not verified yet.

        Raises:
            NotFoundError: no such blob.
            SizeMismatch: the blob has another size than announced, or the range lies outside.
        """
        data = self._blobs.get(blob.digest)
        what = f"blob {blob.digest} in memory"
        if data is None:
            raise NotFoundError(f"no {what}")
        if len(data) != blob.size:
            raise SizeMismatch(what, blob.size, len(data))
        stop = blob.size if stop is None else stop
        if not 0 <= start <= stop <= blob.size:
            raise SizeMismatch(what, blob.size, f"a request for bytes {start} to {stop}")
        return MemoryStream(data, start, stop)

    def distrust(self, blob: Descriptor) -> bool:  # noqa: ARG002
        """Return False: there is no other place to ask."""
        return False

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether the blob is there already."""
        return blob.digest in self._blobs

    def push_blob(
        self,
        blob: Descriptor,
        source: Callable[[], BinaryIO],
        task: Task | None = None,
        *,
        mount_from: str | None = None,  # noqa: ARG002 - there is one repository
    ) -> bool:
        """Store a blob whose digest is known; does nothing where it is there already.

        Raises:
            SizeMismatch, DigestMismatch: the source does not yield the announced bytes.
        """
        is_new = not self.has_blob(blob)
        if is_new:
            with source() as stream:
                data = stream.read(blob.size + 1)
            if len(data) != blob.size:
                raise SizeMismatch(f"blob {blob.digest}", blob.size, "more" if len(data) > blob.size else len(data))
            if Digest.of(data) != blob.digest:
                raise DigestMismatch(f"blob {blob.digest}", str(blob.digest), str(Digest.of(data)))
            self._blobs[blob.digest] = data
        if task is not None:
            task.advance(blob.size)
        return is_new

    def ingest(self) -> AbstractContextManager[MemoryIngest]:
        """Begin a blob of unknown digest."""
        return contextlib.nullcontext(MemoryIngest(self._blobs))

    def exclusive(self) -> AbstractContextManager[bool]:
        """Return True: no other process can reach this memory."""
        return contextlib.nullcontext(True)

    @property
    def traffic(self) -> Traffic:
        """Nothing: memory is not reached over the network."""
        return Traffic()

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class MemoryIngest:
    """A blob being gathered."""

    def __init__(self, blobs: dict[Digest, bytes]) -> None:
        self._blobs = blobs
        self._data = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        self._data += data

    def commit(
        self,
        media_type: str,
        task: Task | None = None,
        *,
        mount_from: str | None = None,  # noqa: ARG002 - there is one repository
    ) -> Descriptor:
        """Store what was written and describe it."""
        data = bytes(self._data)
        described = Descriptor.of(media_type, data)
        self._blobs[described.digest] = data
        if task is not None:
            task.advance(len(data))
        return described


class MemoryStream:
    """Bytes of a blob in memory."""

    def __init__(self, data: bytes, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self._data = data
        self._position = start

    def read(self, amount: int) -> bytes:
        """Return exactly ``amount`` bytes, fewer only at ``stop``."""
        end = min(self._position + amount, self.stop)
        part = self._data[self._position : end]
        self._position = end
        return part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass
