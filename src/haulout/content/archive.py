"""A tar archive of an image layout as a store: read where it lies, and written as a whole.

Podman, buildah and skopeo call it ``oci-archive``. No specification describes it: it is the directory of image-spec's
image-layout.md in a tar archive, in any order.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from haulout.content import naming, tar
from haulout.content.copy import copy
from haulout.content.folder import Folder, OpenFile, Partial
from haulout.content.layout import LayoutStore
from haulout.content.verify import open_verified
from haulout.errors import ContentError, NotFoundError, SizeMismatch, UsageError
from haulout.local import BESIDE, mode_for, open_regular, scratch_folder, storage_errors, sync_folder
from haulout.oci import Digest, Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from haulout.content.ports import StoredManifest
    from haulout.oci import Descriptor
    from haulout.progress import Task

_BUFFER: Final = 1 << 20


class ArchiveStore(LayoutStore):
    """One archive, read in place. Safe to use from several threads; close it when done.

    Args:
        file: where it is.

    Raises:
        NotFoundError: there is no such file, or no layout in it.
        ContentError: it is not a plain tar archive, is damaged, or claims to be a layout and is not one.
        StorageError: it is not a regular file, or cannot be read.
    """

    _not_a_layout_hint = "an archive of another kind? skopeo copy docker-archive:FILE oci-archive:NEW rewrites those"

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.name = f"oci-archive:{file}"

    def _open_root(self, *, create: bool) -> Folder:  # noqa: ARG002 - see ArchiveWriter
        with ExitStack() as stack:
            fd = os.dup(stack.enter_context(open_regular(Path(self.directory), "an archive")))
        try:
            return _Members(self.directory, fd, dict(tar.members(fd, self.directory)))
        except BaseException:
            os.close(fd)
            raise

    def manifest(self, selector: str | Digest) -> StoredManifest:
        """Read what a tag or digest names; "" for the only image in it.

        Raises:
            NotFoundError: no such tag or digest, or not exactly one image; says which there are.
            ContentError: the blob is missing, or is not what its entry says.
        """
        if selector != "":
            return super().manifest(selector)
        images = self.images()
        if len({entry.digest for entry in images}) != 1:
            tags = ", ".join(self.tags()) or "none with a tag"
            raise NotFoundError(f"{self.name} holds {len(images)} images: {tags}", hint=f"name one: {self.name}:TAG")
        return self._by_digest(images[0].digest, images[0])

    def images(self) -> tuple[Descriptor, ...]:
        """Return the entries of the archive but those that are attached to another."""
        return tuple(entry for entry in self.entries().manifests if not self._subjects.has_subject(entry.digest))


class ArchiveWriter(LayoutStore):
    """A new archive under way, in a file that is written once from its beginning to its end.

    Several blobs are written at a time, each to its own place.

    Args:
        file: its name, for errors.
        fd: the empty file, owned by the caller.
        before: the archive that it replaces, whose other images it keeps and whose blobs need not be fetched.
    """

    def __init__(self, file: str, fd: int, before: ArchiveStore | None) -> None:
        self._members = _Members(file, os.dup(fd), {})
        self._before = before
        super().__init__(file, create=True)
        self.name = f"oci-archive:{file}"

    def _open_root(self, *, create: bool) -> Folder:  # noqa: ARG002 - a fresh one
        return self._members

    def push_blob(
        self,
        blob: Descriptor,
        source: Callable[[], BinaryIO],
        task: Task | None = None,
        *,
        mount_from: str | None = None,  # noqa: ARG002 - there is one repository
    ) -> bool:
        """Write a blob whose digest is known; does nothing where it is there already.

        Raises:
            SizeMismatch, DigestMismatch: the source does not yield the announced bytes.
            StorageError: the file system refuses.
        """
        if self.has_blob(blob):
            if task is not None:
                task.advance(blob.size)
            return False
        place = self._members.reserve(f"blobs/sha256/{blob.digest.hex}", blob.size)
        before = self._before
        if before is not None and before.has_blob(blob):
            try:
                self._fill(place, blob, lambda: open_verified(before, blob), task)
            except ContentError:
                # What the old archive has is damaged.
                self._fill(place, blob, source, None)
        else:
            self._fill(place, blob, source, task)
        self._members.settle(f"blobs/sha256/{blob.digest.hex}", place)
        return True

    def _fill(self, place: tar.Extent, blob: Descriptor, source: Callable[[], BinaryIO], task: Task | None) -> None:
        position = 0
        with source() as stream:
            while chunk := stream.read(_BUFFER):
                if position + len(chunk) > blob.size:
                    raise SizeMismatch(f"blob {blob.digest}", blob.size, "more")
                self._members.put(place.offset + position, chunk)
                position += len(chunk)
                if task is not None:
                    task.advance(len(chunk))
        if position != blob.size:
            raise SizeMismatch(f"blob {blob.digest}", blob.size, position)

    def finish(self) -> None:
        """Take over the other images of the archive that is replaced, and write the end.

        Raises:
            ContentError: what is to be kept is damaged.
            StorageError: the file system refuses.
        """
        if self._before is not None:
            self._keep(self._before)
        self._members.finish()

    def _keep(self, before: ArchiveStore) -> None:
        index = self.entries()
        names = set(naming.tags(index))
        for entry in before.images():
            if names & naming.tags_of(entry):
                continue
            copy(before, entry.digest, self)
            index = self.entries()
            self._root.write("index.json", Index((*index.manifests, entry)).to_bytes())


@contextmanager
def replacing_archive(file: str) -> Iterator[ArchiveWriter]:
    """Write an archive that takes the place of ``file`` when the block ends well; nothing remains of it otherwise.

    Other images that ``file`` holds are kept.

    Raises:
        ContentError: ``file`` is there, and is not an archive of a layout.
        StorageError: the file system refuses.
    """
    target = Path(file)
    with ExitStack() as stack:
        try:
            before = stack.enter_context(ArchiveStore(file))
        except NotFoundError:
            if os.path.lexists(file):
                raise
            before = None
        with storage_errors(target):
            fresh = stack.enter_context(scratch_folder(target.parent, BESIDE)) / "archive"
            fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, fd)
        writer = stack.enter_context(ArchiveWriter(file, fd, before))
        yield writer
        writer.finish()
        with storage_errors(target):
            os.fchmod(fd, mode_for(target))
            os.fsync(fd)
            fresh.replace(target)
            sync_folder(target.parent)


class _Members(Folder):
    """An archive in the place of a directory: its members by name, and a file that new ones are added to."""

    def __init__(self, path: str, fd: int, found: dict[str, tar.Extent], prefix: str = "") -> None:
        super().__init__(path, fd)
        self._found = found
        self._prefix = prefix
        self._small: dict[str, bytes] = {}
        """Files of the layout's root, which are written last."""
        self._adding = threading.Lock()
        self._end = 0

    def child(self, name: str, *, create: bool) -> Folder | None:  # noqa: ARG002 - directories need not be members
        return _Child(self, f"{name}/")

    def names(self) -> set[str]:
        return set(self._small)

    def size(self, name: str) -> int | None:
        if name in self._small:
            return len(self._small[name])
        extent = self._found.get(name)
        return extent.size if extent else None

    def read(self, name: str, limit: int) -> bytes | None:
        return self._small[name] if name in self._small else super().read(name, limit)

    def open_file(self, name: str) -> OpenFile | None:
        extent = self._found.get(name)
        return None if extent is None else OpenFile(os.dup(self._fd), extent.size, extent.offset)

    def write(self, name: str, data: bytes) -> None:
        if "/" not in name:
            self._small[name] = data
            return
        place = self.reserve(name, len(data))
        self.put(place.offset, data)
        self.settle(name, place)

    def reserve(self, name: str, size: int) -> tar.Extent:
        """Write the header of a new member, and return where its bytes go."""
        with self._adding:
            start = self._end
            self._end += tar.BLOCK + -(-size // tar.BLOCK) * tar.BLOCK
        self.put(start, tar.header(name, size))
        return tar.Extent(start + tar.BLOCK, size)

    def put(self, offset: int, data: bytes) -> None:
        """Write bytes at a place."""
        view = memoryview(data)
        with storage_errors(self.path):
            while view:
                done = os.pwrite(self._fd, view, offset)
                offset, view = offset + done, view[done:]

    def settle(self, name: str, place: tar.Extent) -> None:
        """Count a member as there."""
        self._found[name] = place

    def finish(self) -> None:
        """Write the files of the root, and the end of the archive."""
        for name, data in self._small.items():
            self.put(self.reserve(name, len(data)).offset, data)
        with storage_errors(self.path):
            os.ftruncate(self._fd, -(-(self._end + 2 * tar.BLOCK) // _RECORD) * _RECORD)

    @contextmanager
    def locked(self, name: str, patience: float) -> Iterator[None]:  # noqa: ARG002 - nobody else has the file
        yield

    def hold(self, name: str, patience: float, *, shared: bool) -> int | None:  # noqa: ARG002 - nobody collects it
        return None

    def begin(self) -> NoReturn:
        raise UsageError("an archive is written as a whole", hint="write a layout, and copy it: haulout copy SRC DST")


class _Child(Folder):
    """A directory in the archive."""

    def __init__(self, root: _Members, prefix: str) -> None:
        super().__init__(f"{root.path}/{prefix.rstrip('/')}", -1)
        self._root = root
        self._prefix = prefix

    def child(self, name: str, *, create: bool) -> Folder | None:  # noqa: ARG002
        return _Child(self._root, f"{self._prefix}{name}/")

    def size(self, name: str) -> int | None:
        return self._root.size(self._prefix + name)

    def open_file(self, name: str) -> OpenFile | None:
        return self._root.open_file(self._prefix + name)

    def write(self, name: str, data: bytes) -> None:
        self._root.write(self._prefix + name, data)

    def begin(self) -> Partial:
        return self._root.begin()


_RECORD: Final = 20 * tar.BLOCK
"""What tar pads an archive to."""
