"""A folder as a tree. Nothing is followed out of it: symlinks stay data, and what is read must be what was seen."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from haulout.confidential.image.rootfs.limits import PATH_MAX, Limits
from haulout.confidential.image.rootfs.nodes import Device, Directory, Fifo, File, Node, Segments, Socket, Symlink
from haulout.confidential.image.rootfs.sources import Held, Reader
from haulout.confidential.image.rootfs.tree import Tree
from haulout.errors import InvalidRootfs, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


_Seen = tuple[bytes, int, int, int, int, Segments | None]
"""Path, device, inode, size and time of a file as it was listed, and the parts that are stored."""


def from_folder(
    path: str | os.PathLike[str], *, owner: tuple[int, int] | None = None, limits: Limits | None = None
) -> Tree:
    """Take a folder, with everything below it, as a tree; other file systems mounted there are part of it.

    Args:
        path: the folder.
        owner: (uid, gid) for everything, instead of what the file system says.
        limits: how many names.

    Raises:
        InvalidRootfs: something in it is refused, or changed meanwhile.
        StorageError: it cannot be read.
    """
    source = FolderSource(os.fsencode(path))
    walk = _Walk(source, owner, limits or Limits())
    try:
        return Tree(walk.run(), (Held(), source))
    except OSError as exc:
        raise _unreadable(exc, source.folder) from exc


def _unreadable(exc: OSError, fallback: bytes) -> StorageError:
    where = exc.filename if exc.filename is not None else fallback
    return StorageError(os.fsdecode(where), exc.strerror or str(exc))


class _Walk:
    def __init__(self, source: FolderSource, owner: tuple[int, int] | None, limits: Limits) -> None:
        self._source = source
        self._owner = owner
        self._limits = limits
        self._linked: dict[tuple[int, int], Node] = {}
        """Files with several names, by device and inode."""

    def run(self) -> Directory:
        folder = self._source.folder
        info = os.stat(folder)  # noqa: PTH116 - names are bytes here
        if not stat.S_ISDIR(info.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
        root = self._directory(folder, info)
        pending = [(folder, root, info)]
        count = 0
        while pending:
            path, directory, seen = pending.pop()
            for name in sorted(self._names(path, seen, is_root=path == folder)):
                count += 1
                if count > self._limits.entries:
                    raise self._refused(path, "bomb", f"more than {self._limits.entries} names")
                child = path + b"/" + name
                if len(child) - len(folder) > PATH_MAX:
                    raise self._refused(child, "name", f"a path of more than {PATH_MAX} bytes")
                info = os.lstat(child)
                node = self._node(child, info)
                directory.children[name] = node
                if isinstance(node, Directory):
                    pending.append((child, node, info))
        return root

    def _names(self, path: bytes, seen: os.stat_result, *, is_root: bool) -> list[bytes]:
        """List a directory, if it is still the one seen, and no symlink by now."""
        fd = os.open(path, _FLAGS & ~os.O_NOFOLLOW if is_root else _FLAGS)
        try:
            now = os.fstat(fd)
            if (now.st_dev, now.st_ino) != (seen.st_dev, seen.st_ino):
                raise self._refused(path, "changed", "it was replaced while it was read")
            return [os.fsencode(name) for name in os.listdir(fd)]  # noqa: PTH208 - of a descriptor
        finally:
            os.close(fd)

    def _directory(self, path: bytes, info: os.stat_result) -> Directory:
        uid, gid = self._owner or (info.st_uid, info.st_gid)
        return Directory(mode=info.st_mode & 0o7777, uid=uid, gid=gid, mtime=info.st_mtime_ns, xattrs=_xattrs(path))

    def _node(self, path: bytes, info: os.stat_result) -> Node:
        if stat.S_ISDIR(info.st_mode):
            return self._directory(path, info)
        key = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and key in self._linked:
            return self._linked[key]
        node = self._leaf(path, info)
        if info.st_nlink > 1:
            self._linked[key] = node
        return node

    def _leaf(self, path: bytes, info: os.stat_result) -> Node:
        mode, mtime = info.st_mode & 0o7777, info.st_mtime_ns
        uid, gid = self._owner or (info.st_uid, info.st_gid)
        xattrs = _xattrs(path)
        if stat.S_ISREG(info.st_mode):
            offset, segments = self._source.add(path, info)
            return File(
                mode=mode,
                uid=uid,
                gid=gid,
                mtime=mtime,
                xattrs=xattrs,
                size=info.st_size,
                source=1,
                offset=offset,
                segments=segments,
            )
        if stat.S_ISLNK(info.st_mode):
            return Symlink(mode=0o777, uid=uid, gid=gid, mtime=mtime, xattrs=xattrs, target=_target(path))
        if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
            is_block = stat.S_ISBLK(info.st_mode)
            return Device(
                mode=mode, uid=uid, gid=gid, mtime=mtime, xattrs=xattrs, is_block=is_block, major=major, minor=minor
            )
        if stat.S_ISFIFO(info.st_mode):
            return Fifo(mode=mode, uid=uid, gid=gid, mtime=mtime, xattrs=xattrs)
        if stat.S_ISSOCK(info.st_mode):
            return Socket(mode=mode, uid=uid, gid=gid, mtime=mtime, xattrs=xattrs)
        raise self._refused(path, "kind", "a file of an unknown kind")

    def _refused(self, path: bytes, rule: str, reason: str) -> InvalidRootfs:
        return self._source.refused(path, rule, reason)


def _xattrs(path: bytes) -> dict[bytes, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False) for name in names}
    except OSError as exc:
        if exc.errno in {errno.ENOTSUP, errno.ENODATA}:
            return {}
        raise


def _target(path: bytes) -> bytes:
    return os.readlink(path)  # noqa: PTH115 - names are bytes here


class FolderSource:
    """The files of a folder; an offset is an index."""

    def __init__(self, folder: bytes) -> None:
        self.folder = folder.rstrip(b"/") or b"/"
        self._files: list[_Seen] = []

    @property
    def name(self) -> str:
        """The folder."""
        return os.fsdecode(self.folder)

    def add(self, path: bytes, info: os.stat_result) -> tuple[int, Segments | None]:
        """Note a file; returns its index and the parts that are stored."""
        segments = None
        if info.st_blocks * 512 < info.st_size:
            segments = _stored(path, info.st_size)
        self._files.append((path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, segments))
        return len(self._files) - 1, segments

    def refused(self, path: bytes, rule: str, reason: str) -> InvalidRootfs:
        """Make the error that names a path inside."""
        return InvalidRootfs(self.name, path[len(self.folder) :].lstrip(b"/"), rule, reason)

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Begin a pass."""
        reader = _FolderReader(self, self._files)
        try:
            yield reader
            reader.finish()
        finally:
            reader.close()


def _stored(path: bytes, size: int) -> Segments:
    """Ask the file system which parts of a sparse file hold data."""
    segments = []
    fd = os.open(path, _FLAGS)
    try:
        position = 0
        while position < size:
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
            except OSError as exc:
                if exc.errno == errno.ENXIO:
                    break
                raise
            position = min(os.lseek(fd, start, os.SEEK_HOLE), size)
            if position <= start:
                break
            segments.append((start, position - start))
    finally:
        os.close(fd)
    return tuple(segments)


class _FolderReader:
    def __init__(self, source: FolderSource, files: list[_Seen]) -> None:
        self._source = source
        self._files = files
        self._fd = -1
        self._path = b""
        self._seen: list[int] = []
        self._segments: list[tuple[int, int]] | None = None

    def begin(self, offset: int) -> None:
        self.finish()
        self._path, *self._seen, segments = self._files[offset]
        try:
            self._fd = os.open(self._path, _FLAGS)
        except OSError as exc:
            raise _unreadable(exc, self._path) from exc
        self._compare()
        self._segments = None if segments is None else list(reversed(segments))

    def fill(self, view: memoryview) -> None:
        while view:
            part = view
            if self._segments is not None:
                start, size = self._segments.pop()
                part = view[:size]
                if len(part) < size:
                    self._segments.append((start + len(part), size - len(part)))
                os.lseek(self._fd, start, os.SEEK_SET)
            view = view[len(part) :]
            while part:
                try:
                    amount = os.readv(self._fd, [part])
                except OSError as exc:
                    raise _unreadable(exc, self._path) from exc
                if not amount:
                    raise self._changed()
                part = part[amount:]

    def finish(self) -> None:
        """Be done with a file, which still has to be what it was: half of it may have been read before a change."""
        if self._fd >= 0:
            self._compare()
        self.close()

    def _compare(self) -> None:
        try:
            now = os.fstat(self._fd)
        except OSError as exc:
            raise _unreadable(exc, self._path) from exc
        if [now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns] != self._seen:
            raise self._changed()

    def _changed(self) -> InvalidRootfs:
        return self._source.refused(self._path, "changed", "it was changed while it was read")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
