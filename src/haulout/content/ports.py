"""What a place that holds content can do, one verb each.

A registry repository, an image layout on disk and a store in memory all satisfy these. Ask for the narrowest: a
function that only fetches takes a ``BlobReader``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from haulout.oci import Descriptor, Digest, Index, Manifest, parse_any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from haulout.progress import Task, Traffic


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest or index exactly as stored; ``data`` has been checked against ``descriptor``."""

    descriptor: Descriptor
    data: bytes

    def parse(self, what: str) -> Manifest | Index:
        """Parse it as the type it was announced as.

        Raises:
            InvalidManifest: it breaks its schema.
        """
        return parse_any(self.data, what, self.descriptor.media_type)


class BlobStream(Protocol):
    """Bytes ``start`` to ``stop`` of one blob, read once, in order."""

    start: int
    """Offset in the blob of the first byte this stream yields. It is 0, whatever was asked, where the server ignores
    ranges: the reader skips, or uses what comes."""
    stop: int
    """Offset in the blob after the last byte this stream yields."""

    def read(self, amount: int) -> bytes:
        """Return exactly ``amount`` bytes, fewer only at ``stop``, none after it.

        Raises:
            UnreachableError: the connection failed and could not be resumed.
            SizeMismatch: the blob ended before ``stop``.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class ManifestReader(Protocol):
    """Reads manifests and indexes."""

    def manifest(self, selector: str | Digest) -> StoredManifest:
        """Read the manifest a tag or digest names; verified against the digest, at most 4 MiB.

        Raises:
            NotFoundError: no such tag or digest.
            ContentError: the answer is not what the digest, size or media type promise.
        """


class BlobReader(Protocol):
    """Reads blobs, whole or in single ranges. Safe to call from several threads."""

    def open_blob(self, blob: Descriptor, start: int = 0, stop: int | None = None) -> BlobStream:
        """Open bytes ``[start, stop)`` of a blob, to its end where ``stop`` is None.

        The bytes are **not** verified yet: read through ``content.verify`` or against a TOC.

        Raises:
            NotFoundError: no such blob.
        """


@runtime_checkable
class Distrusting(Protocol):
    """Can read a blob from more than one place, such as a registry and its mirrors; a store has at least one.

    Only the reader that checks the digest knows that a place sent damaged bytes, and only the store can choose another.
    """

    def distrust(self, blob: Descriptor) -> bool:
        """Take note that the bytes last read of ``blob`` were damaged; True where the next read uses another place."""


class BlobWriter(Protocol):
    """Stores blobs."""

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether the blob is there already."""

    def push_blob(
        self,
        blob: Descriptor,
        source: Callable[[], BinaryIO],
        task: Task | None = None,
        *,
        mount_from: str | None = None,
    ) -> bool:
        """Store a blob whose digest is known; does nothing where it is there already.

        Returns:
            Whether its bytes had to be written: it was not there, and could not be mounted.

        Args:
            blob: what it must be; the destination checks it.
            source: opens the bytes from the start; called again for each retry.
            task: advanced by the bytes sent.
            mount_from: a repository of the same registry that may hold the blob, so that nothing need be sent; places
                without repositories ignore it.
        """


class Ingest(Protocol):
    """A blob under way whose digest is known only when it is complete."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""

    def commit(self, media_type: str, task: Task | None = None, *, mount_from: str | None = None) -> Descriptor:
        """Store what was written and describe it. Without a commit nothing remains.

        Args:
            media_type: its type.
            task: advanced by the bytes sent.
            mount_from: as for ``push_blob``.
        """


class Ingester(Protocol):
    """Takes blobs of unknown digest, as compression makes them. Memory stays flat."""

    def ingest(self) -> AbstractContextManager[Ingest]:
        """Begin a blob; leaving the block without a commit discards it."""


class ManifestWriter(Protocol):
    """Stores manifests and indexes."""

    def push_manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        """Store exact bytes, under a tag or by digest alone. Idempotent.

        Where the manifest has a ``subject`` and the place keeps no referrers itself, the fallback tag is maintained.
        """


class Deleter(Protocol):
    """Deletes manifests and tags, where the place allows it. Blobs go when the place collects its garbage."""

    def can_delete(self) -> bool:
        """Whether manifests can be deleted here by their digest: asked of the place, once, and changes nothing."""

    def delete_manifest(self, digest: Digest, *, refers: bool = True) -> None:
        """Delete a manifest or index, and with it every tag that names it.

        Args:
            digest: what goes.
            refers: whether it may have a ``subject``, whose list of referrers under the fallback tag then loses it.

        Raises:
            NotFoundError: it is not there.
            DeletionRefused: the place does not delete.
        """

    def delete_tag(self, tag: str) -> None:
        """Take a tag away; its manifest and other tags of that stay.

        Raises:
            NotFoundError: it is not there.
            DeletionRefused: the place does not delete, or only by digest: :attr:`~DeletionRefused.only_by_digest`.
        """


class ReferrerLister(Protocol):
    """Finds what points at a manifest by ``subject``."""

    def referrers(self, subject: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """List the referrers, filtered by artifact type; empty where there are none."""


class TagLister(Protocol):
    """Lists tags."""

    def tags(self, prefix: str = "", *, optional: bool = False) -> Iterator[str]:
        """Yield the tags that begin with ``prefix``, in lexical order where the place keeps that order.

        Args:
            prefix: of the tags.
            optional: whether the caller can do without: a place that is busy is then asked once only.
        """


class Exclusive(Protocol):
    """Can lock the place against other writers, where it has locks."""

    def exclusive(self) -> AbstractContextManager[bool]:
        """Lock the place for as long as the block lasts (True); registries have no locks (False)."""


class Store(
    ManifestReader,
    BlobReader,
    Distrusting,
    BlobWriter,
    Ingester,
    ManifestWriter,
    Deleter,
    ReferrerLister,
    TagLister,
    Exclusive,
    Protocol,
):
    """Everything one repository or layout can do. Close it when done."""

    @property
    def traffic(self) -> Traffic:
        """What has crossed the wire on behalf of this store."""

    def close(self) -> None:
        """Release connections and files."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
