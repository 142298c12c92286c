"""A directory held open: regular files in, regular files out, atomically; locks that die with their holder.

Everything is relative to an open directory and refuses to follow symbolic links, so that a layout from elsewhere cannot
lead reads or writes out of itself (CVE-2026-50162, and races between check and use).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from haulout.content.stream import FileStream
from haulout.errors import ConflictError, ContentError, NotFoundError, StorageError
from haulout.local import hold, hold_record, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTIAL: Final = ".partial-"
"""Prefix of unfinished files. The writer of each holds its lock: one without a lock was left by a killed process."""
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: opening a FIFO put in place of a blob must not wait for a writer."""


class OpenFile(NamedTuple):
    """A file open for reading; the caller closes ``fd``."""

    fd: int
    size: int
    offset: int = 0
    """Where its bytes begin in ``fd``: an archive's members lie in one file."""


class Folder:
    """An open directory. Close it when done.

    Args:
        path: its name, for errors.
        fd: the open directory; owned from now on.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._swept = False

    @classmethod
    def open(cls, path: str) -> Self:
        """Open an existing directory.

        Raises:
            NotFoundError: it does not exist.
            StorageError: it is not a directory, or cannot be read.
        """
        try:
            with storage_errors(path):
                return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except StorageError as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                raise NotFoundError(
                    f"the image layout {path} does not exist", hint="check the path between oci: and the tag"
                ) from exc
            raise

    def child(self, name: str, *, create: bool) -> Folder | None:
        """Open the directory ``name`` in this one; None where it is absent and not to be created.

        Raises:
            StorageError: something else is in its place, a symbolic link included.
        """
        path = f"{self.path}/{name}"
        with storage_errors(path):
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=self._fd)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                return Folder(path, os.open(name, flags, dir_fd=self._fd))
            except FileNotFoundError:
                return None

    def names(self) -> set[str]:
        """Return the names in it, files under way left out."""
        with storage_errors(self.path):
            return {name for name in _listed(self._fd) if not name.startswith(_PARTIAL)}

    def size(self, name: str) -> int | None:
        """Return the size of the regular file ``name`` in bytes, None where there is none."""
        with storage_errors(f"{self.path}/{name}"):
            try:
                status = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            except FileNotFoundError:
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def modified(self, name: str) -> float:
        """Return when the file ``name`` was last written, in seconds since the epoch; 0 where it is not there."""
        with storage_errors(f"{self.path}/{name}"), contextlib.suppress(FileNotFoundError):
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mtime
        return 0.0

    def open_file(self, name: str) -> OpenFile | None:
        """Open a regular file; None where it is absent.

        Raises:
            ContentError: it is a symbolic link, a FIFO, or anything else that is not a regular file.
            StorageError: it cannot be read.
        """
        path = f"{self.path}/{name}"
        try:
            with storage_errors(path):
                fd = os.open(name, _READ_FLAGS, dir_fd=self._fd)
        except StorageError as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                return None
            if isinstance(exc.__cause__, OSError) and exc.__cause__.errno in {errno.ELOOP, errno.ENXIO}:
                raise ContentError(f"{path} is not a regular file") from exc
            raise
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise ContentError(f"{path} is not a regular file")
        return OpenFile(fd, status.st_size)

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a small regular file, None where it is absent.

        Raises:
            ContentError: it has more than ``limit`` bytes, or is not a regular file.
            StorageError: it cannot be read.
        """
        opened = self.open_file(name)
        if opened is None:
            return None
        path = f"{self.path}/{name}"
        with FileStream(opened.fd, 0, opened.size, path, opened.offset) as stream:
            if opened.size > limit:
                raise ContentError(f"{path} has more than {limit} bytes")
            return stream.read(opened.size)

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place, whole or not at all, surviving a power cut.

        Raises:
            StorageError: the file system refuses.
        """
        with self.begin() as partial:
            partial.write(data)
            partial.publish(name)

    def begin(self) -> Partial:
        """Begin a file that has no name yet; the first call removes what killed writers left.

        Raises:
            StorageError: the file system refuses.
        """
        if not self._swept:
            self._swept = True
            self.sweep()
        with storage_errors(self.path):
            while True:
                name = _PARTIAL + secrets.token_hex(8)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(name, flags, 0o666, dir_fd=self._fd)
                # Between creation and lock another process's sweep may take it for abandoned: then begin again.
                if hold(fd) and os.fstat(fd).st_nlink:
                    return Partial(self, name, fd)
                os.close(fd)

    def sweep(self) -> None:
        """Remove what killed writers left.

        Raises:
            StorageError: the file system refuses.
        """
        with storage_errors(self.path):
            for name in _listed(self._fd):
                if not name.startswith(_PARTIAL):
                    continue
                with contextlib.suppress(FileNotFoundError, PermissionError, BlockingIOError):
                    fd = os.open(name, _READ_FLAGS, dir_fd=self._fd)
                    try:
                        if hold(fd):
                            os.unlink(name, dir_fd=self._fd)
                    finally:
                        os.close(fd)

    def rename(self, old: str, new: str) -> None:
        """Rename a file within this directory, replacing, and make it last."""
        os.rename(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        os.fsync(self._fd)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    @contextlib.contextmanager
    def locked(self, name: str, patience: float) -> Iterator[None]:
        """Hold the lock file ``name``, created if need be, against every other process and open store.

        An open-file-description lock rather than ``flock``: it excludes Podman's artifact store too, which takes a
        POSIX record lock on ``index.lock``. It ends with the process, however that ends.

        Raises:
            ConflictError: another writer has held it for ``patience`` seconds.
            StorageError: the file system refuses.
        """
        path = f"{self.path}/{name}"
        with storage_errors(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o666, dir_fd=self._fd)
        try:
            with storage_errors(path):
                free = hold_record(fd, seconds=patience)
            if not free:
                raise ConflictError(
                    f"{path} has been held by another writer for {patience:g} s",
                    hint="wait for the other haulout or podman process to finish, or end it",
                )
            yield
        finally:
            os.close(fd)

    def hold(self, name: str, patience: float, *, shared: bool) -> int | None:
        """Hold the file ``name`` together with others, or alone, until the returned descriptor is closed.

        None where the file system has no such locks, and ``shared``: then nobody can hold it alone, either.

        Raises:
            ConflictError: others have held it for ``patience`` seconds.
            StorageError: it cannot be opened.
        """
        path = f"{self.path}/{name}"
        with storage_errors(path):
            # Over NFS, a lock that excludes others takes a descriptor that may write.
            fd = os.open(name, (os.O_RDONLY if shared else os.O_RDWR) | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
            try:
                if hold(fd, seconds=patience, shared=shared):
                    return fd
            except OSError:
                os.close(fd)
                if shared:
                    return None
                raise
        os.close(fd)
        raise ConflictError(
            f"{self.path} has been in use by {'a collection of garbage' if shared else 'a push'} for {patience:g} s",
            hint="wait for the other haulout process to end, or end it",
        )

    def close(self) -> None:
        """Close the directory; closing twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Partial:
    """A file under way in a folder. Leaving the ``with`` block without :meth:`publish` removes it."""

    def __init__(self, folder: Folder, name: str, fd: int) -> None:
        self._folder = folder
        self._name = name
        self._fd = fd
        self._published = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of ``data``.

        Raises:
            StorageError: the file system refuses.
        """
        view = memoryview(data).cast("B")
        with storage_errors(self._folder.path):
            while view:
                view = view[os.write(self._fd, view) :]

    def publish(self, name: str) -> None:
        """Make the bytes last, then give them their name, replacing what had it.

        Raises:
            StorageError: the file system refuses.
        """
        with storage_errors(f"{self._folder.path}/{name}"):
            os.fsync(self._fd)
            self._folder.rename(self._name, name)
        self._published = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        # Removed before it is closed: closing frees the lock, and with it the name.
        if not self._published:
            with contextlib.suppress(OSError):
                self._folder.remove(self._name)
        os.close(self._fd)


def _listed(fd: int) -> list[str]:
    # By descriptor, not by path: the directory may have been moved since it was opened.
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries]
