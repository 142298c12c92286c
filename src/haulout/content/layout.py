"""An OCI image layout on disk as a store (image-spec, image-layout.md): the embedded default, no server needed.

Any number of processes may read and write one layout at once: blobs and ``index.json`` appear by rename, edits of
``index.json`` happen under ``index.lock``, and a killed writer leaves at most a file the next writer removes.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from haulout.content import naming
from haulout.content.fallback import deleted_with_its_line
from haulout.content.folder import Folder
from haulout.content.index_file import INDEX_FILE, read_index, write_index
from haulout.content.ingest import LayoutIngest
from haulout.content.ports import StoredManifest
from haulout.content.stream import FileStream
from haulout.content.subjects import Subjects
from haulout.errors import ConflictError, ContentError, DigestMismatch, NotFoundError, SizeMismatch, StorageError
from haulout.local import storage_errors
from haulout.oci import Descriptor, Digest, Index, Manifest, json, manifest_media_type, parse_any
from haulout.progress import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from haulout.progress import Task

LAYOUT_FILE: Final = "oci-layout"
_LOCK_FILE: Final = "index.lock"
_OWN_NAMES: Final = frozenset({INDEX_FILE, _LOCK_FILE, "blobs"})
"""What a creation cut short may have left; such a directory may be completed."""
_BUFFER: Final = 1 << 20


class LayoutStore:
    """One image layout. Safe to use from several threads; close it when done.

    Args:
        directory: where it is.
        create: make the layout (and the directory) where there is none. A directory that holds other things is refused.
        patience: how many seconds to wait for another writer's lock.

    Raises:
        NotFoundError: no such directory, or no layout in it.
        ContentError: it claims to be a layout and is not one.
        StorageError: the file system refuses.
    """

    _not_a_layout_hint = "check the directory; pushing to oci:DIR:TAG makes a new layout"

    def __init__(self, directory: str, *, create: bool = False, patience: float = 60.0) -> None:
        self.directory = directory
        self.name = f"oci:{directory}"
        """As references have it."""
        self._patience = patience
        self._thread_lock = threading.RLock()
        self._lock_depth = 0
        self._blobs_lock = threading.Lock()
        self._blobs: Folder | None = None
        self._subjects = Subjects(self._by_digest)
        self._root = self._open_root(create=create)
        self._writing: int | None = None
        try:
            self._begin(create=create)
            if create:
                # While this is held, no collection removes a blob that is about to be used.
                self._writing = self._root.hold(LAYOUT_FILE, patience, shared=True)
        except BaseException:
            self._root.close()
            raise

    def _open_root(self, *, create: bool) -> Folder:
        if create:
            with storage_errors(self.directory):
                Path(self.directory).mkdir(parents=True, exist_ok=True)
        return Folder.open(self.directory)

    def _begin(self, *, create: bool) -> None:
        marker = self._root.read(LAYOUT_FILE, 4096)
        if marker is None and create:
            strangers = self._root.names() - _OWN_NAMES - {LAYOUT_FILE}
            if strangers:
                raise StorageError(
                    self.directory,
                    f"it holds other things ({', '.join(sorted(strangers)[:3])}) and is not an image layout",
                    hint="choose an empty or new directory",
                )
            with self.exclusive():
                if self._root.size(INDEX_FILE) is None:
                    write_index(self._root, Index(()))
                # Last: a reader that sees it may rely on the rest.
                self._root.write(LAYOUT_FILE, json.dumps({"imageLayoutVersion": "1.0.0"}))
            return
        if marker is None:
            raise NotFoundError(
                f"{self.directory} is not an OCI image layout: it has no {LAYOUT_FILE} file",
                hint=self._not_a_layout_hint,
            )
        version = json.loads(marker, f"{self.directory}/{LAYOUT_FILE}").get("imageLayoutVersion")
        if not isinstance(version, str) or not version.startswith("1."):
            raise ContentError(f"{self.directory} is an image layout of unknown version {str(version)[:40]!r}")

    # Manifests

    def manifest(self, selector: str | Digest) -> StoredManifest:
        """Read the manifest a tag (see :mod:`.naming`) or digest names, verified against its digest.

        Raises:
            NotFoundError: no such tag or digest; says which tags there are.
            ContentError: the blob is missing, or is not what its entry says.
        """
        if isinstance(selector, Digest):
            return self._by_digest(selector)
        index = self.entries()
        entry = naming.find(index, selector, self.name, self._subjects.has_subject)
        if entry is None:
            raise self._no_tag(index, selector)
        try:
            return self._by_digest(entry.digest, entry)
        except NotFoundError as exc:
            raise ContentError(f"{self.name}:{selector} is damaged: the blob {entry.digest} is missing") from exc

    def _no_tag(self, index: Index, tag: str) -> NotFoundError:
        there = naming.tags(index)
        known = f"there are {', '.join(there[:8])}{', …' if len(there) > 8 else ''}" if there else "it has no tags"
        return NotFoundError(f"no tag {tag} in {self.name}; {known}")

    def _by_digest(self, digest: Digest, entry: Descriptor | None = None) -> StoredManifest:
        what = f"manifest {digest} in {self.name}"
        blobs = self._blob_folder(create=False)
        data = blobs.read(digest.hex, json.MAX_MANIFEST_BYTES) if blobs else None
        if data is None:
            raise NotFoundError(f"no {what}")
        if entry is not None and len(data) != entry.size:
            raise SizeMismatch(what, entry.size, len(data))
        actual = Digest.of(data)
        if actual != digest:
            raise DigestMismatch(what, str(digest), str(actual))
        media_type = entry.media_type if entry else manifest_media_type(data, what)
        return StoredManifest(Descriptor(media_type, digest, len(data)), data)

    def push_manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        """Store exact bytes, under a tag or by digest alone. Idempotent; concurrent edits are not lost.

        A manifest with a ``subject`` is listed in ``index.json`` even without a tag, as oras lists it: that is how
        referrers of a layout are found.

        Raises:
            InvalidManifest: the bytes are not a manifest or index of that type.
            ConflictError: another writer keeps the layout locked.
            StorageError: the file system refuses.
        """
        parsed = parse_any(data, "manifest to store", media_type)
        kind = parsed.media_type
        described = Descriptor.of(kind, data)
        blobs = self._write_blobs()
        # Compared in full, so that pushing again mends a damaged one.
        if blobs.size(described.digest.hex) != len(data) or blobs.read(described.digest.hex, len(data)) != data:
            blobs.write(described.digest.hex, data)
        if tag is not None or parsed.subject is not None:
            with self.exclusive():
                self._list(described, parsed, tag)
        return described

    def _list(self, described: Descriptor, parsed: Manifest | Index, tag: str | None) -> None:
        index = self.entries()
        artifact_type = parsed.artifact_type
        annotations: dict[str, str] = {}
        if parsed.subject is not None:
            artifact_type = parsed.effective_artifact_type if isinstance(parsed, Manifest) else artifact_type
            annotations = dict(parsed.annotations)
        entry = Descriptor(
            described.media_type, described.digest, described.size, annotations, artifact_type=artifact_type
        )
        changed = naming.with_unnamed(index, entry)
        if tag is not None:
            before = (old.digest for old in index.manifests if naming.bears(old, tag))
            keep = frozenset(digest for digest in before if self._subjects.has_subject(digest))
            changed = naming.with_tag(index, tag, entry, keep)
        self._rewrite(index, changed)

    def entries(self) -> Index:
        """Return ``index.json``; raises as :func:`read_index`."""
        return read_index(self._root, self.directory)

    def _rewrite(self, before: Index, after: Index) -> None:
        """Write ``index.json``, without the referrers of what no tag reaches any more."""
        if after == before:
            return
        if {entry.digest for entry in before.manifests} - {entry.digest for entry in after.manifests}:
            with contextlib.suppress(ContentError):
                gone = self._subjects.left_behind(before, after)
                after = replace(after, manifests=tuple(one for one in after.manifests if one.digest not in gone))
        self.relist(after)

    def relist(self, index: Index) -> None:
        """Replace ``index.json``, in one step; under :meth:`exclusive` where others write.

        Raises:
            ContentError: it would be too large to be read again.
            StorageError: the file system refuses.
        """
        write_index(self._root, index)

    def can_delete(self) -> bool:
        """Return True: what a file system refuses shows when it is tried."""
        return True

    def delete_manifest(self, digest: Digest, *, refers: bool = True) -> None:  # noqa: ARG002 - looking is cheap here
        """Delete a manifest, and every entry of ``index.json`` that means it. Other blobs stay.

        Raises:
            NotFoundError: no such manifest.
            ConflictError, StorageError: as :meth:`push_manifest`.
        """
        with self.exclusive():
            deleted_with_its_line(self, self._by_digest(digest), lambda: self._forget(digest))

    def _forget(self, digest: Digest) -> None:
        index = self.entries()
        self._rewrite(index, naming.without(index, digest))
        self._subjects.forget(digest)
        self._write_blobs().remove(digest.hex)

    def delete_tag(self, tag: str) -> None:
        """Take a tag away, and its entry with it unless that is a referrer, which is found by being listed.

        Raises:
            NotFoundError: no such tag.
            ConflictError, StorageError: as :meth:`push_manifest`.
        """
        with self.exclusive():
            index = self.entries()
            entry = naming.find(index, tag, self.name, self._subjects.has_subject)
            if entry is None:
                raise self._no_tag(index, tag)
            keep = frozenset({entry.digest} if self._subjects.has_subject(entry.digest) else ())
            self._rewrite(index, naming.without_tag(index, tag, entry, keep))

    def tags(self, prefix: str = "", *, optional: bool = False) -> Iterator[str]:  # noqa: ARG002 - never busy
        """Yield the tags that begin with ``prefix``, in lexical order."""
        return (tag for tag in naming.tags(self.entries()) if tag.startswith(prefix))

    def referrers(self, subject: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """List what points at ``subject``, found from the entries of ``index.json`` and their children.

        Raises:
            ContentError: ``index.json`` is damaged, or lists too much to look through.
        """
        return self._subjects.referrers(self.entries().manifests, subject, artifact_type)

    # Blobs

    def open_blob(self, blob: Descriptor, start: int = 0, stop: int | None = None) -> FileStream:
        """Open bytes ``[start, stop)`` of a blob, not verified yet.

        Raises:
            NotFoundError: no such blob.
            SizeMismatch: its file has another size than announced, or the range lies outside.
            ContentError: it is not a regular file.
        """
        what = f"blob {blob.digest} in {self.name}"
        stop = blob.size if stop is None else stop
        if not 0 <= start <= stop <= blob.size:
            raise SizeMismatch(what, blob.size, f"a request for bytes {start} to {stop}")
        blobs = self._blob_folder(create=False)
        opened = blobs.open_file(blob.digest.hex) if blobs else None
        if opened is None:
            raise NotFoundError(f"no {what}")
        if opened.size != blob.size:
            os.close(opened.fd)
            raise SizeMismatch(what, blob.size, opened.size)
        return FileStream(opened.fd, start, stop, what, opened.offset)

    def distrust(self, blob: Descriptor) -> bool:  # noqa: ARG002
        """Return False: there is no other place to ask."""
        return False

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether the blob is there, with its right size."""
        return self._blob_size(blob.digest) == blob.size

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
            SizeMismatch, DigestMismatch: the source does not yield the announced bytes; nothing is stored.
            StorageError: the file system refuses.
        """
        if self.has_blob(blob):
            if task is not None:
                task.advance(blob.size)
            return False
        with self._ingest() as ingest, source() as stream:
            while chunk := stream.read(_BUFFER):
                ingest.write(chunk)
                if ingest.size > blob.size:
                    raise SizeMismatch(f"blob {blob.digest}", blob.size, "more")
                if task is not None:
                    task.advance(len(chunk))
            ingest.commit(blob.media_type, expected=blob)
        return True

    def ingest(self) -> AbstractContextManager[LayoutIngest]:
        """Begin a blob of unknown digest: written into the layout at once, named at its commit.

        Raises:
            StorageError: the file system refuses.
        """
        return self._ingest()

    @contextlib.contextmanager
    def _ingest(self) -> Iterator[LayoutIngest]:
        with self._write_blobs().begin() as partial:
            yield LayoutIngest(partial)

    def _blob_size(self, digest: Digest) -> int | None:
        blobs = self._blob_folder(create=False)
        return blobs.size(digest.hex) if blobs else None

    def _write_blobs(self) -> Folder:
        folder = self._blob_folder(create=True)
        assert folder is not None
        return folder

    def _blob_folder(self, *, create: bool) -> Folder | None:
        # A layout without any blob need not have the directories yet.
        with self._blobs_lock:
            if self._blobs is None:
                parent = self._root.child("blobs", create=create)
                if parent is not None:
                    try:
                        self._blobs = parent.child("sha256", create=create)
                    finally:
                        parent.close()
            return self._blobs

    # The whole

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Shut out every other writer of this layout, in this process and others; yields True. May be nested.

        Raises:
            ConflictError: another writer has held it for ``patience`` seconds.
            StorageError: the lock file cannot be made, as on a read-only file system.
        """
        if not self._thread_lock.acquire(timeout=self._patience):
            raise ConflictError(f"{self.name} has been held by another thread for {self._patience:g} s")
        try:
            if self._lock_depth:
                self._lock_depth += 1
                try:
                    yield True
                finally:
                    self._lock_depth -= 1
                return
            with self._root.locked(_LOCK_FILE, self._patience):
                self._lock_depth = 1
                try:
                    yield True
                finally:
                    self._lock_depth = 0
        finally:
            self._thread_lock.release()

    @property
    def traffic(self) -> Traffic:
        """Nothing: a layout is not reached over the network."""
        return Traffic()

    def close(self) -> None:
        """Close the directories; closing twice is fine."""
        self._root.close()
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None
        if self._blobs is not None:
            self._blobs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
