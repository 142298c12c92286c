"""Copy a manifest or index with everything it needs from one store to another.

Blobs first, then manifests, then what is attached to them, then the index that lists them, and the tag last: a reader
of the destination never finds a manifest whose parts are missing.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, cast

from haulout.content.ports import (
    BlobReader,
    BlobWriter,
    ManifestReader,
    ManifestWriter,
    ReferrerLister,
    StoredManifest,
)
from haulout.content.verify import VerifiedFile, VerifiedReader
from haulout.errors import ContentError, SizeMismatch
from haulout.oci import Descriptor, Digest, Index, Manifest, parse_any
from haulout.progress import NullProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

MAX_DEPTH: Final = 6
"""Deepest chain of indexes and referrers copied."""
MAX_MANIFESTS: Final = 1024
"""Most manifests copied in one call."""


class Source(ManifestReader, BlobReader, ReferrerLister, Protocol):
    """What is copied from."""


class Target(BlobWriter, ManifestWriter, Protocol):
    """What is copied to."""


def copy(
    source: Source,
    selector: str | Digest,
    target: Target,
    tag: str | None = None,
    *,
    referrers: bool = True,
    select: Callable[[Descriptor], bool] | None = None,
    progress: Progress | None = None,
) -> Descriptor:
    """Copy what ``selector`` names, byte for byte, and return its descriptor at the target.

    Args:
        source: where it is.
        selector: tag or digest there.
        target: where it goes; what it has already is not sent again.
        tag: its name there; None: by digest alone.
        referrers: whether what is attached comes along, at every level.
        select: asked for every entry of every index; where it refuses any, the index is written anew without them, and
            so has another digest.
        progress: receives one task for each blob.

    Raises:
        NotFoundError: the source lacks the selector, or a part of it.
        ContentError: something is not what it claims to be, or the graph is deeper or larger than the bounds.
    """
    copier = _Copier(source, target, referrers=referrers, select=select, progress=progress or NullProgress())
    stored = source.manifest(selector)
    return copier.copy(stored, stored.descriptor, tag, MAX_DEPTH)


class _Copier:
    def __init__(
        self,
        source: Source,
        target: Target,
        *,
        referrers: bool,
        select: Callable[[Descriptor], bool] | None,
        progress: Progress,
    ) -> None:
        self._source = source
        self._target = target
        self._referrers = referrers
        self._select = select
        self._progress = progress
        self._done: dict[Digest, Descriptor] = {}
        self._begun: set[Digest] = set()
        self._blobs: set[Digest] = set()

    def copy(self, stored: StoredManifest, entry: Descriptor, tag: str | None, depth: int) -> Descriptor:
        what = f"manifest {entry.digest}"
        if depth == 0:
            raise ContentError(f"{what} lies more than {MAX_DEPTH} levels deep")
        self._begun.add(entry.digest)
        if len(self._begun) > MAX_MANIFESTS:
            raise ContentError(f"more than {MAX_MANIFESTS} manifests to copy")
        parsed = parse_any(stored.data, what, entry.media_type)
        if isinstance(parsed, Manifest):
            for blob in (parsed.config, *parsed.layers):
                self._blob(blob)
            data = stored.data
        else:
            data = self._entries(stored, parsed, depth)
        # What is attached to an index that is written anew is attached to another one.
        attached = self._source.referrers(entry.digest) if self._referrers and data is stored.data else ()
        pushed = self._target.push_manifest(data, parsed.media_type, None if attached else tag)
        self._done[entry.digest] = pushed
        for referrer in attached:
            self._one(referrer, depth - 1)
        if attached and tag is not None:
            self._target.push_manifest(data, parsed.media_type, tag)
        return pushed

    def _entries(self, stored: StoredManifest, index: Index, depth: int) -> bytes:
        wanted = [entry for entry in index.manifests if self._select is None or self._select(entry)]
        written: list[Descriptor] = []
        for entry in wanted:
            pushed = self._one(entry, depth - 1)
            # A nested index that lost entries has another digest; its place and annotations stay.
            written.append(replace(entry, digest=pushed.digest, size=pushed.size) if pushed else entry)
        if tuple(written) == index.manifests:
            return stored.data
        return replace(index, manifests=tuple(written)).to_bytes()

    def _one(self, entry: Descriptor, depth: int) -> Descriptor | None:
        if entry.digest in self._done:
            return self._done[entry.digest]
        if entry.digest in self._begun:
            return None
        stored = self._source.manifest(entry.digest)
        if stored.descriptor.size != entry.size:
            raise SizeMismatch(f"manifest {entry.digest}", entry.size, stored.descriptor.size)
        return self.copy(stored, entry, None, depth)

    def _blob(self, blob: Descriptor) -> None:
        if blob.digest in self._blobs:
            return
        name = blob.title or f"blob {blob.digest.short}"
        with self._progress.task(name, blob.size) as task:
            if self._target.has_blob(blob):
                task.advance(blob.size)
            else:
                self._target.push_blob(blob, lambda: self._open(blob), task)
        self._blobs.add(blob.digest)

    def _open(self, blob: Descriptor) -> BinaryIO:
        if blob.data is not None:
            return io.BytesIO(blob.data)
        stream = self._source.open_blob(blob)
        reader = VerifiedReader(stream, blob, f"blob {blob.digest}")
        return cast("BinaryIO", io.BufferedReader(VerifiedFile(reader), 1 << 20))
