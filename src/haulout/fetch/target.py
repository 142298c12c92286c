"""The file a pull makes: a partial beside its target, locked while it grows, renamed when it is verified.

The partial's name holds the digest of what it will become, so that a pull resumes only its own; its lock dies with its
process, however that dies.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.errors import ConflictError, StorageError
from haulout.fetch.leftovers import noted, remove_unlocked
from haulout.local import BESIDE, hold, inherit, nameless_file, storage_errors, sync_folder
from haulout.local import sweep as sweep_scratch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.oci import Digest

_SUFFIX: Final = ".partial"
_OPTION: Final = "--output"


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
        with storage_errors(self.path, option=_OPTION):
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
        with storage_errors(self.target, option=_OPTION):
            os.fsync(self.fd)
            inherit(self.fd, self.target)
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
        """Remove the partial if it holds no content: there is nothing to resume."""
        if os.fstat(self.fd).st_blocks == 0:
            self.discard()


@contextmanager
def open_partial(target: Path, identity: Digest, part: str = "disk") -> Iterator[Partial]:
    """Open the partial of ``target`` that will become ``identity``, creating it or resuming an earlier one.

    Args:
        target: where the result will appear.
        identity: digest of the blob it is made from.
        part: distinguishes the partials of one pull.

    Raises:
        ConflictError: another process or thread is pulling the same disk to the same place.
        StorageError: the target cannot be replaced, or its folder cannot be written.
    """
    check_target(target)
    path = _partial_path(target, identity, part)
    fd = _open_locked(path, target)
    partial = Partial(fd, path, target)
    try:
        with noted(path):
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
    with storage_errors(target, option=_OPTION):
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
    if stat.S_ISBLK(mode):
        raise StorageError(
            str(target), "is a block device", hint="to replace all of it, add --device; or choose another --output"
        )
    if not stat.S_ISREG(mode):
        raise StorageError(str(target), "exists and is not a regular file", hint="choose another --output")


def _open_locked(path: Path, target: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        with storage_errors(path, option=_OPTION):
            fd = os.open(path, flags, 0o600)
        try:
            _lock(fd, path, target)
            # The one that held the lock before may have renamed or removed the file meanwhile.
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
    with storage_errors(path, option=_OPTION):
        is_ours = hold(fd)
    if not is_ours:
        raise ConflictError(
            f"another pull is writing to {target}", hint="wait for it to end, or choose another --output"
        )


def _is_our_own(found: os.stat_result, folder: Path) -> bool:
    """Return whether a file in ``folder`` has the owner that files made there get.

    That is not always this user: on FAT all files belong to one user, and NFS gives those of root to nobody. Anyone who
    may write to files of that owner may write to ours in any case.
    """
    if found.st_uid == os.geteuid():
        return True
    with storage_errors(folder, option=_OPTION), nameless_file(folder) as fresh:
        return os.fstat(fresh.fileno()).st_uid == found.st_uid


def sweep(target: Path) -> None:
    """Remove what interrupted pulls to ``target`` left behind: the result is there."""
    sweep_scratch(target.parent, BESIDE)
    ours = re.compile(re.escape(f".{target.name}.") + r"[0-9a-f]{12}\.[a-z]+" + re.escape(_SUFFIX))
    found: list[Path] = []
    with suppress(PermissionError):
        found += (path for path in target.parent.iterdir() if ours.fullmatch(path.name))
    for path in found:
        remove_unlocked(path)
