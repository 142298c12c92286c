"""The file a pull makes: a partial beside its target, locked while it grows, renamed when it is right.

The partial's name holds the digest of what it will become, so that an interrupted pull finds its own and no other's;
its lock dies with its process, however that dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.errors import ConflictError, StorageError
from haulout.local import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from haulout.oci import Digest

_SUFFIX: Final = ".partial"


@dataclass(frozen=True, slots=True)
class Partial:
    """An open, locked partial file."""

    fd: int
    path: Path
    target: Path

    def resize(self, size: int) -> None:
        """Give the file its final size; what is new is a hole.

        Raises:
            StorageError: the file system does not hold files of this size.
        """
        with storage_errors(self.path):
            os.ftruncate(self.fd, size)

    @property
    def free(self) -> int:
        """Bytes that are free where the file is."""
        room = os.fstatvfs(self.fd)
        return room.f_bavail * room.f_frsize

    def require_room(self, needed: int) -> None:
        """Check that ``needed`` more bytes fit.

        Raises:
            StorageError: they do not.
        """
        free = self.free
        if needed > free:
            raise StorageError(
                str(self.target.parent),
                f"{needed} bytes are needed and {free} are free",
                hint="make room, or choose another place with --output",
            )

    def publish(self) -> None:
        """Make the bytes durable, then rename the file to its target: either the old result or all of the new one.

        Raises:
            StorageError: the file system refuses; the old result is untouched.
        """
        with storage_errors(self.target):
            os.fsync(self.fd)
            os.fchmod(self.fd, 0o666 & ~_umask())
            self.path.rename(self.target)
            sync_folder(self.target.parent)
        sweep(self.target)

    def discard(self) -> None:
        """Remove the partial, unless it was published: nothing in it is worth keeping."""
        with suppress(OSError):
            # Once it has its final name, another process may have begun a partial of the old one.
            if os.path.samestat(self.path.lstat(), os.fstat(self.fd)):
                self.path.unlink()

    def discard_empty(self) -> None:
        """Remove the partial if it holds no content: there is nothing to go on with."""
        if os.fstat(self.fd).st_blocks == 0:
            self.discard()


@contextmanager
def open_partial(target: Path, identity: Digest, part: str = "disk") -> Iterator[Partial]:
    """Open the partial of ``target`` that will become ``identity``, creating it or going on with an earlier one.

    Args:
        target: where the result will appear.
        identity: digest of the blob it is made from.
        part: tells the partials of one pull apart.

    Raises:
        ConflictError: another process is pulling the same thing to the same place.
        StorageError: the target cannot be replaced, or its folder cannot be written.
    """
    check_target(target)
    path = _partial_path(target, identity, part)
    fd = _open_locked(path, target)
    partial = Partial(fd, path, target)
    try:
        yield partial
    except BaseException:
        partial.discard_empty()
        raise
    finally:
        os.close(fd)


@contextmanager
def look_at_partial(target: Path, identity: Digest, part: str = "disk") -> Iterator[Partial]:
    """Open what an earlier pull left, if anything, to be read and no more; nothing is made, locked or changed.

    Arguments as for :func:`open_partial`.
    """
    path = _partial_path(target, identity, part)
    fd = None
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            fd = None
    fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) if fd is None else fd
    try:
        yield Partial(fd, path, target)
    finally:
        os.close(fd)


def _partial_path(target: Path, identity: Digest, part: str) -> Path:
    return target.parent / f".{target.name}.{identity.short}.{part}{_SUFFIX}"


def check_target(target: Path) -> None:
    """Check that a result may appear at ``target``: nothing is there yet, or a plain file.

    Raises:
        StorageError: a symbolic link, a folder or a device is in the way, or the folder is missing.
    """
    with storage_errors(target):
        try:
            mode = target.lstat().st_mode
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise StorageError(
                    str(target.parent), "there is no such folder", hint="create it, or choose another --output"
                ) from None
            return
    if stat.S_ISLNK(mode):
        raise StorageError(
            str(target), "is a symbolic link, which is not replaced", hint="name the file itself with --output"
        )
    if not stat.S_ISREG(mode):
        raise StorageError(str(target), "exists and is no regular file", hint="choose another --output")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate the file system's refusals, naming ``path`` and the way out."""
    try:
        yield
    except OSError as exc:
        hint = _HINTS.get(exc.errno or 0)
        raise StorageError(str(path), (exc.strerror or str(exc)).lower(), hint=hint) from exc


def workplace(stack: ExitStack) -> Path:
    """Make a private folder for large intermediate files, which ``stack`` removes.

    Raises:
        StorageError: no folder can be made in ``$TMPDIR``, or else ``/var/tmp``.
    """
    # /var/tmp rather than /tmp, which is often memory: a converted disk is large.
    parent = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 - a fresh private folder is made in it
    with storage_errors(Path(parent)):
        return stack.enter_context(scratch.scratch_folder(Path(parent), scratch.APART))


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable, where the file system can and the folder may be read."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        # A folder to drop files into: the result is there, and an error now would deny it.
        return
    try:
        with suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


_HINTS: Final = {
    errno.ENOSPC: "make room, or choose another place with --output",
    errno.EDQUOT: "make room, or choose another place with --output",
    errno.EROFS: "choose a place that can be written with --output",
    errno.EACCES: "choose a place you may write with --output",
    errno.EPERM: "choose a place you may write with --output",
    errno.EFBIG: "this file system holds no file of that size; choose another with --output",
    errno.ENAMETOOLONG: "choose a shorter name with --output",
}


def _open_locked(path: Path, target: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        with storage_errors(path):
            fd = os.open(path, flags, 0o600)
        try:
            _lock(fd, path, target)
            # Whoever held the lock before may have renamed or removed the file meanwhile.
            with suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), os.fstat(fd)):
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _lock(fd: int, path: Path, target: Path) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or not _is_our_own(found, path.parent):
        raise StorageError(
            str(path), "is in the way and was not made by a pull", hint="remove it, or choose another --output"
        )
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConflictError(
            f"another process is pulling to {target} right now", hint="wait for it, or choose another --output"
        ) from None


def _is_our_own(found: os.stat_result, folder: Path) -> bool:
    """Whether a file in ``folder`` belongs to whom the files belong that we make there.

    That is not always this user: FAT knows no owners and has all files belong to one, and NFS gives those of root to
    nobody. Who may write to files of that owner there may write to ours in any case.
    """
    if found.st_uid == os.geteuid():
        return True
    with storage_errors(folder), tempfile.TemporaryFile(dir=folder) as fresh:
        return os.fstat(fresh.fileno()).st_uid == found.st_uid


def sweep(target: Path) -> None:
    """Remove what interrupted pulls to ``target`` left behind: the result is there."""
    scratch.sweep(target.parent, scratch.BESIDE)
    ours = re.compile(re.escape(f".{target.name}.") + r"[0-9a-f]{12}\.[a-z]+" + re.escape(_SUFFIX))
    found: list[Path] = []
    with suppress(PermissionError):
        found += (path for path in target.parent.iterdir() if ours.fullmatch(path.name))
    for path in found:
        with suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(fd)


def _umask() -> int:
    # There is no way to read it but to set it, which would be seen by other threads.
    with Path("/proc/self/status").open() as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022
