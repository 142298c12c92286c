"""A directory held open: regular files in, regular files out, atomically; locks that die with their holder.

Everything is relative to an open directory and refuses to follow symbolic links, so that a layout from elsewhere cannot
lead reads or writes out of itself (facts: CVE-2026-50162 and the time-of-check class).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import struct
import time
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import ConflictError, ContentError, NotFoundError, SizeMismatch, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTIAL: Final = ".partial-"
"""Prefix of files under way. Each is flock'ed by its writer: one nobody holds was left by a killed process."""
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: opening a FIFO put in place of a blob must not wait for a writer."""
_FLOCK: Final = "hhqqi4x"
"""struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""

_REASONS: Final = {
    errno.ENOSPC: "the file system is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "a symbolic link is in the way",
    errno.ENOTDIR: "it is not a directory",
    errno.EISDIR: "it is a directory",
    errno.ENOENT: "no such file or directory",
    errno.EFBIG: "the file is too large for the file system",
    errno.ENAMETOOLONG: "the name is too long",
}
_HINTS: Final = {
    errno.ENOSPC: "make room, or use another directory",
    errno.EDQUOT: "make room, or use another directory",
}


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn what the operating system says about ``path`` into a :class:`StorageError`."""
    try:
        yield
    except OSError as exc:
        code = exc.errno or 0
        raise StorageError(path, _REASONS.get(code, exc.strerror or type(exc).__name__), hint=_HINTS.get(code)) from exc
    except ValueError as exc:
        # A NUL byte, or a character the file system's encoding lacks.
        raise StorageError(path, "it is no file name") from exc


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
            StorageError: it is no directory, or may not be read.
        """
        try:
            with translated(path):
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
        with translated(path):
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
        with translated(self.path):
            return {name for name in _listed(self._fd) if not name.startswith(_PARTIAL)}

    def size(self, name: str) -> int | None:
        """Return the size of the regular file ``name`` in bytes, None where there is none."""
        with translated(f"{self.path}/{name}"):
            try:
                status = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            except FileNotFoundError:
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def open_file(self, name: str) -> tuple[int, int] | None:
        """Open a regular file; return its descriptor, which the caller closes, and its size; None where it is absent.

        Raises:
            ContentError: it is a symbolic link, a FIFO, or anything else that is no regular file.
            StorageError: it may not be read.
        """
        path = f"{self.path}/{name}"
        try:
            with translated(path):
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
        return fd, status.st_size

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a small regular file, None where it is absent.

        Raises:
            ContentError: it has more than ``limit`` bytes, or is no regular file.
            StorageError: it may not be read.
        """
        opened = self.open_file(name)
        if opened is None:
            return None
        path = f"{self.path}/{name}"
        with translated(path), os.fdopen(opened[0], "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ContentError(f"{path} has more than {limit} bytes")
        return data

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
            self._sweep()
        with translated(self.path):
            while True:
                name = _PARTIAL + secrets.token_hex(8)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(name, flags, 0o666, dir_fd=self._fd)
                # Between creation and lock another process's sweep may take it for abandoned: then begin again.
                if _lock_whole(fd) and os.fstat(fd).st_nlink:
                    return Partial(self, name, fd)
                os.close(fd)

    def _sweep(self) -> None:
        with translated(self.path):
            for name in _listed(self._fd):
                if not name.startswith(_PARTIAL):
                    continue
                with contextlib.suppress(FileNotFoundError, PermissionError, BlockingIOError):
                    fd = os.open(name, _READ_FLAGS, dir_fd=self._fd)
                    try:
                        if _lock_whole(fd):
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
            ConflictError: somebody else has held it for ``patience`` seconds.
            StorageError: the file system refuses.
        """
        path = f"{self.path}/{name}"
        with translated(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o666, dir_fd=self._fd)
        try:
            deadline = time.monotonic() + patience
            pause = 0.001
            while True:
                with translated(path):
                    if _lock_record(fd):
                        break
                if time.monotonic() > deadline:
                    raise ConflictError(
                        f"{path} has been held by another writer for {patience:g} s",
                        hint="wait for the other haulout or podman process to finish, or end it",
                    )
                time.sleep(pause)
                pause = min(pause * 2, 0.05)
            yield
        finally:
            os.close(fd)

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
        with translated(self._folder.path):
            while view:
                view = view[os.write(self._fd, view) :]

    def publish(self, name: str) -> None:
        """Make the bytes last, then give them their name, replacing what had it.

        Raises:
            StorageError: the file system refuses.
        """
        with translated(f"{self._folder.path}/{name}"):
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


def _lock_whole(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_record(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except (BlockingIOError, PermissionError):
        # fcntl(2): EAGAIN or EACCES, whichever the system prefers.
        return False
    return True


class FileStream:
    """Bytes of a file, read by position; closed by leaving the ``with`` block."""

    def __init__(self, fd: int, start: int, stop: int, what: str) -> None:
        self.start = start
        self.stop = stop
        self._fd = fd
        self._position = start
        self._what = what

    def read(self, amount: int) -> bytes:
        """Return exactly ``amount`` bytes, fewer only at ``stop``.

        Raises:
            SizeMismatch: the file was cut while being read.
            StorageError: the disk cannot be read.
        """
        want = min(amount, self.stop - self._position)
        parts: list[bytes] = []
        with translated(self._what):
            while want > 0:
                part = os.pread(self._fd, want, self._position)
                if not part:
                    raise SizeMismatch(self._what, self.stop, self._position)
                parts.append(part)
                self._position += len(part)
                want -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
