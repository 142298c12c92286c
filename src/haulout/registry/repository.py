"""One repository of a registry, as a ``content.ports.Store``."""

from __future__ import annotations

import io
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

from haulout import oci
from haulout.errors import (
    ContentError,
    HauloutError,
    NotFoundError,
    RegistryError,
    StorageError,
    UnreachableError,
    UsageError,
)
from haulout.registry import blobs, manifests
from haulout.registry.blobs import EmbeddedStream, MirroredStream, RangeStream
from haulout.registry.quirks import ASKED_FROM, MANIFEST_ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from haulout.content import BlobStream, StoredManifest
    from haulout.http import Meter
    from haulout.oci import Descriptor, Digest, RegistryReference
    from haulout.progress import Task, Traffic
    from haulout.registry import ingest
    from haulout.registry.access import Access, ReferrersMemory

_T = TypeVar("_T")


class Place:
    """An endpoint that may be asked for a repository, with what is known of it."""

    def __init__(self, access: Access, memory: ReferrersMemory, *, digests: bool = True, tags: bool = True) -> None:
        self.access = access
        self.memory = memory
        self.urls = blobs.SignedUrls()
        self.digests = digests
        self.tags = tags
        self.is_down = False
        """Not to be asked again: it could not be reached within the tries of one request."""


class RegistryRepository:
    """A repository; safe to use from several threads. Its connections belong to :class:`Registries`."""

    def __init__(
        self,
        reference: RegistryReference,
        places: Sequence[Place],
        meter: Meter,
        note: Callable[[str], None],
    ) -> None:
        """Take the places to read from in order; the last is the registry itself, and the only one written to."""
        self.reference = reference
        self._places = tuple(places)
        self._home = self._places[-1]
        self._meter = meter
        self._note = note
        self._failed: set[str] = set()

    @property
    def name(self) -> str:
        """``host/repository`` as the user wrote it."""
        return self.reference.name

    @property
    def traffic(self) -> Traffic:
        """What has crossed the wire for this repository."""
        return self._meter.traffic

    # -- reading -----------------------------------------------------------------------------------------------------

    def manifest(self, selector: str | Digest) -> StoredManifest:
        """Read what a tag or digest names: :func:`manifests.read`."""
        is_digest = not isinstance(selector, str)
        return self._first(lambda place: manifests.read(place.access, selector), digest=is_digest)

    def open_blob(self, blob: Descriptor, start: int = 0, stop: int | None = None) -> BlobStream:
        """Open bytes ``[start, stop)``: :class:`RangeStream`, or the descriptor's own data where it carries them."""
        end = blob.size if stop is None else stop
        if not 0 <= start <= end <= blob.size:
            raise UsageError(f"bytes {start} to {end} are outside the {blob.size} bytes of {blob.digest}")
        if blob.data is not None or start == end:
            return EmbeddedStream(blob.data or b"", start, end)
        return self._first(lambda place: self._open_at(place, blob, start, end), digest=True)

    def _open_at(self, place: Place, blob: Descriptor, start: int, stop: int) -> BlobStream:
        stream = RangeStream(place.access, place.urls, blob, start, stop)
        if place is self._home:
            return stream

        def elsewhere(error: HauloutError, position: int) -> BlobStream:
            self._pass_over(place, error)
            # Whatever it was: a mirror that begins and does not go on is not asked again.
            place.is_down = True
            return self.open_blob(blob, position, stream.stop)

        return MirroredStream(stream, elsewhere)

    def distrust(self, blob: Descriptor) -> bool:
        """Stop using mirrors: one has sent a damaged part of ``blob``; return whether any was in use."""
        mirrors = [place for place in self._places if place is not self._home and not place.is_down]
        for place in mirrors:
            place.is_down = True
        if mirrors:
            self._note(
                f"a mirror sent damaged data for {blob.digest.short}; "
                f"from now on only {self._home.access.host.name} itself is asked"
            )
        return bool(mirrors)

    def referrers(self, subject: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """List the referrers: :func:`referrers.list_referrers`."""
        from haulout.registry import referrers  # noqa: PLC0415 - not needed to read a manifest

        return self._first(
            lambda place: referrers.list_referrers(place.access, place.memory, subject, artifact_type, self._note),
            digest=True,
        )

    def tags(self, prefix: str = "", *, optional: bool = False) -> Iterator[str]:
        """Yield tags: :func:`tags.list_tags`. Always of the registry itself, since mirrors hold some only."""
        from haulout.registry import tags  # noqa: PLC0415 - not needed to read a manifest

        try:
            yield from tags.list_tags(self._home.access, prefix, optional=optional)
        except NotFoundError as error:
            self._home.memory.is_new = True
            host = self._home.access.host.name
            error.hint = error.hint or f"check the repository's name; if it is not for everybody: haulout login {host}"
            raise

    # -- writing -----------------------------------------------------------------------------------------------------

    def has_blob(self, blob: Descriptor) -> bool:
        """Return whether the registry itself has the blob."""
        return blobs.exists(self._home.access, blob)

    def push_blob(
        self,
        blob: Descriptor,
        source: Callable[[], BinaryIO],
        task: Task | None = None,
        *,
        mount_from: str | None = None,
    ) -> bool:
        """Store a blob: :func:`uploads.push`."""
        from haulout.registry import uploads  # noqa: PLC0415 - not needed to read a manifest

        memory, access = self._home.memory, self._home.access
        if access.host.memory.refuses_mounts:
            mount_from = None
        # A repository that was not there a moment ago has no blobs, and a mount finds out whether it has this one, and
        # begins the upload if not, in one request. Only a large blob is worth asking for in spite of one of the two.
        reasons = int(memory.is_new) + int(mount_from is not None)
        ask = reasons < (1 if blob.size <= ASKED_FROM else 2)
        was_sent = uploads.push(access, blob, source, task, mount_from=mount_from, ask=ask)
        # Not so new after all: an earlier push ended before its tag was written.
        memory.is_new &= was_sent
        return was_sent

    def ingest(self) -> AbstractContextManager[ingest.SpooledBlob]:
        """Begin a blob of unknown digest in a temporary file: :func:`ingest.spool`."""
        from haulout.registry import ingest  # noqa: PLC0415 - not needed to read a manifest

        return ingest.spool(
            lambda blob, source, task, mount_from: self.push_blob(blob, source, task, mount_from=mount_from)
        )

    def push_manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        """Store exact bytes under a tag, or by digest alone; keeps the fallback tag of the subject where needed.

        Raises:
            InvalidManifest: the bytes are not a manifest of that type.
            HauloutError: as :func:`manifests.write` and :func:`fallback.add`.
        """
        what = f"{self.name}:{tag}" if tag else f"a manifest for {self.name}"
        if len(data) > oci.MAX_MANIFEST_BYTES:
            raise UsageError(f"{what} has {len(data)} bytes; registries take {oci.MAX_MANIFEST_BYTES}")
        document = oci.parse_any(data, what, media_type)
        home = self._home
        descriptor, keeps_referrers = self._write_manifest(data, media_type, tag)
        if document.subject is not None and not keeps_referrers:
            from haulout.registry import fallback  # noqa: PLC0415 - not needed to read a manifest

            entry = fallback.describe(descriptor, document)
            fallback.add(self, self.name, home.memory.writing, document.subject.digest, entry, self._note)
        return descriptor

    def _write_manifest(self, data: bytes, media_type: str, tag: str | None) -> tuple[Descriptor, bool]:
        # docker-registry 2.8 rewrites the link of a blob that is uploaded twice at once (every artifact shares the
        # empty config), and for that instant refuses manifests that name it, with status 400.
        for attempt in range(1, MANIFEST_ATTEMPTS):
            try:
                return manifests.write(self._home.access, data, media_type, tag)
            except RegistryError as error:
                if error.status != 400:
                    raise
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 - jitter, not a secret
            self.push_blob(oci.EMPTY, lambda: io.BytesIO(b"{}"))
        return manifests.write(self._home.access, data, media_type, tag)

    def can_delete(self) -> bool:
        """Return whether the registry deletes: :func:`deletion.can_delete`."""
        from haulout.registry import deletion  # noqa: PLC0415 - few commands delete

        return deletion.can_delete(self._home.access, self._home.memory)

    def delete_manifest(self, digest: Digest, *, refers: bool = True) -> None:
        """Delete a manifest with all its tags, and its line in the fallback tag's list: :func:`deletion.delete`."""
        from haulout.content import deleted_with_its_line  # noqa: PLC0415 - few commands delete
        from haulout.registry import deletion  # noqa: PLC0415

        access = self._home.access
        if not refers:
            deletion.delete(access, digest, by_digest=False)
            return
        stored = manifests.read(access, digest)
        with self._home.memory.writing:
            deleted_with_its_line(self, stored, lambda: deletion.delete(access, digest, by_digest=False))

    def delete_tag(self, tag: str) -> None:
        """Delete a tag alone: :func:`deletion.delete`."""
        from haulout.registry import deletion  # noqa: PLC0415 - few commands delete

        deletion.delete(self._home.access, tag, by_digest=self.can_delete())

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Yield False: the distribution API has no lock."""
        yield False

    def close(self) -> None:
        """Do nothing: :class:`Registries` holds the connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- mirrors -----------------------------------------------------------------------------------------------------

    def _first(self, ask: Callable[[Place], _T], *, digest: bool) -> _T:
        for place in self._places:
            if place is self._home or place.is_down or not (place.digests if digest else place.tags):
                continue
            try:
                return ask(place)
            except (UsageError, StorageError):
                raise
            except HauloutError as error:
                self._pass_over(place, error)
        return ask(self._home)

    def _pass_over(self, place: Place, error: HauloutError) -> None:
        # A mirror that lies is as good as one that is down: the next one is asked, and everything is hashed anyway.
        place.is_down = place.is_down or isinstance(error, UnreachableError)
        if place.access.name in self._failed and not isinstance(error, ContentError):
            return
        self._failed.add(place.access.name)
        self._note(f"mirror {place.access.host.name} failed ({error}); trying the next one")
