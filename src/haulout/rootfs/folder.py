"""A folder as a tree. Nothing is followed out of it: symlinks stay data, and what is read must be what was listed.

Each entry is opened by its name in a directory held open, and described by what was opened: however names are moved
meanwhile, nothing else is described in its place. It takes Linux: O_PATH, /proc and extended attributes.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidRootfs, UsageError
from haulout.local import storage_error, storage_errors
from haulout.rootfs.descent import Descent, Place, Replaced
from haulout.rootfs.limits import PATH_MAX, Limits
from haulout.rootfs.nodes import Attributes, Device, Directory, Fifo, File, Node, Segments, Socket, Symlink
from haulout.rootfs.tree import Held, Reader, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_O_PATH: Final = getattr(os, "O_PATH", 0)
_HOLD: Final = _O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
"""Opens anything, devices and symlinks too, without touching it."""
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_Seen = tuple[Place, bytes, int, int, int, int, Segments | None]
"""Directory, name, device, inode, size and time of a file as it was listed, and the parts that are stored."""


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
        UsageError: this system is not Linux.
    """
    if not _O_PATH:
        raise UsageError("a folder can be read as a root file system only on Linux", hint="name an image: oci:DIR:TAG")
    source = FolderSource(os.fsencode(path))
    return Tree(_Walk(source, owner, limits or Limits()).run(), (Held(), source))


class _Walk:
    def __init__(self, source: FolderSource, owner: tuple[int, int] | None, limits: Limits) -> None:
        self._source = source
        self._owner = owner
        self._limits = limits
        self._count = 0
        self._linked: dict[tuple[int, int], Node] = {}
        """Files with several names, by device and inode."""

    def run(self) -> Directory:
        with self._source.descent() as descent:
            info = descent.top()
            top = self._source.begin(info)
            with self._source.failures(top):
                root = Directory(**self._attributes(descent.enter(top), info))
            pending = [(top, root)]
            while pending:
                place, directory = pending.pop()
                with self._source.failures(place):
                    at = descent.enter(place)
                    names = self._names(at, place)
                for name in names:
                    with self._source.failures(place, name):
                        node, info = self._look(at, place, name)
                    directory.children[name] = node
                    if isinstance(node, Directory):
                        pending.append((place.below(name, info), node))
        return root

    def _look(self, directory: int, place: Place, name: bytes) -> tuple[Node, os.stat_result]:
        fd = os.open(name, _HOLD, dir_fd=directory)
        try:
            info = os.fstat(fd)
            return self._node(fd, info, place, name), info
        finally:
            os.close(fd)

    def _names(self, fd: int, place: Place) -> list[bytes]:
        """List an open directory, in ascending order."""
        names = []
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                self._count += 1
                if self._count > self._limits.entries:
                    raise self._source.refused(place, None, "bomb", f"more than {self._limits.entries} names")
                if place.length + 1 + len(name) > PATH_MAX:
                    raise self._source.refused(place, name, "name", f"a path of more than {PATH_MAX} bytes")
                names.append(name)
        return sorted(names)

    def _attributes(self, fd: int, info: os.stat_result) -> Attributes:
        uid, gid = self._owner or (info.st_uid, info.st_gid)
        mode = 0o777 if stat.S_ISLNK(info.st_mode) else info.st_mode & 0o7777
        return {"mode": mode, "uid": uid, "gid": gid, "mtime": info.st_mtime_ns, "xattrs": _xattrs(fd)}

    def _node(self, fd: int, info: os.stat_result, place: Place, name: bytes) -> Node:
        if stat.S_ISDIR(info.st_mode):
            return Directory(**self._attributes(fd, info))
        key = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and key in self._linked:
            return self._linked[key]
        node = self._leaf(fd, info, place, name)
        if info.st_nlink > 1:
            self._linked[key] = node
        return node

    def _leaf(self, fd: int, info: os.stat_result, place: Place, name: bytes) -> Node:
        attributes = self._attributes(fd, info)
        if stat.S_ISREG(info.st_mode):
            offset, segments = self._source.add(fd, info, place, name)
            return File(**attributes, size=info.st_size, source=1, offset=offset, segments=segments)
        if stat.S_ISLNK(info.st_mode):
            return Symlink(**attributes, target=os.readlink(b"", dir_fd=fd))
        if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
            return Device(**attributes, is_block=stat.S_ISBLK(info.st_mode), major=major, minor=minor)
        if stat.S_ISFIFO(info.st_mode):
            return Fifo(**attributes)
        if stat.S_ISSOCK(info.st_mode):
            return Socket(**attributes)
        raise self._source.refused(place, name, "kind", "a file of an unknown kind")


def _itself(fd: int) -> str:
    """Return the path of what is open, even a symlink, for calls that take only paths."""
    return f"/proc/self/fd/{fd}"


def _xattrs(fd: int) -> dict[bytes, bytes]:
    path = _itself(fd)
    try:
        return {os.fsencode(name): os.getxattr(path, name) for name in os.listxattr(path)}
    except OSError as exc:
        if exc.errno in {errno.ENOTSUP, errno.ENODATA}:
            return {}
        raise


class FolderSource:
    """The files of a folder; an offset is an index."""

    def __init__(self, folder: bytes) -> None:
        self.folder = folder.rstrip(b"/") or b"/"
        self._files: list[_Seen] = []
        self._top: Place | None = None

    @property
    def name(self) -> str:
        """The folder."""
        return os.fsdecode(self.folder)

    def descent(self) -> Descent:
        """Open the folder.

        Raises:
            StorageError: it is not a folder, or cannot be opened.
        """
        with storage_errors(self.name):
            return Descent(self.folder)

    def begin(self, info: os.stat_result) -> Place:
        """Note which folder it is."""
        self._top = Place(None, b"", (info.st_dev, info.st_ino))
        return self._top

    def add(self, fd: int, info: os.stat_result, place: Place, name: bytes) -> tuple[int, Segments | None]:
        """Note a file; returns its index and the parts that are stored."""
        segments = None
        if info.st_blocks * 512 < info.st_size:
            segments = _stored(fd, info.st_size)
        self._files.append((place, name, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, segments))
        return len(self._files) - 1, segments

    def refused(self, place: Place, name: bytes | None, rule: str, reason: str) -> InvalidRootfs:
        """Make the error that names a path inside."""
        return InvalidRootfs(self.name, place.path(name), rule, reason)

    @contextmanager
    def failures(self, place: Place, name: bytes | None = None) -> Iterator[None]:
        """Translate what goes wrong with a directory, or with ``name`` in it."""
        try:
            yield
        except Replaced as exc:
            raise self.refused(exc.place, None, "changed", "it was replaced while it was read") from exc
        except OSError as exc:
            path = b"/".join([self.folder.rstrip(b"/"), place.path(name)])
            raise storage_error(os.fsdecode(path), exc) from exc

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Begin a pass."""
        with self.descent() as descent:
            if self._top is not None:
                with self.failures(self._top):
                    descent.require_top(self._top)
            reader = _FolderReader(self, self._files, descent)
            try:
                yield reader
                reader.finish()
            finally:
                reader.close()


def _stored(held: int, size: int) -> Segments:
    """Ask the file system which parts of a sparse file hold data."""
    segments = []
    fd = os.open(_itself(held), os.O_RDONLY | os.O_CLOEXEC)
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
    def __init__(self, source: FolderSource, files: list[_Seen], descent: Descent) -> None:
        self._source = source
        self._files = files
        self._descent = descent
        self._fd = -1
        self._at: tuple[Place, bytes]
        self._seen: list[int] = []
        self._segments: list[tuple[int, int]] | None = None

    def begin(self, offset: int) -> None:
        self.finish()
        place, name, *self._seen, segments = self._files[offset]
        self._at = place, name
        with self._source.failures(place, name):
            self._fd = os.open(name, _READ, dir_fd=self._descent.enter(place))
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
                with self._source.failures(*self._at):
                    amount = os.readv(self._fd, [part])
                if not amount:
                    raise self._changed()
                part = part[amount:]

    def finish(self) -> None:
        """Be done with a file, which still has to be what it was: half of it may have been read before a change."""
        if self._fd >= 0:
            self._compare()
        self.close()

    def _compare(self) -> None:
        with self._source.failures(*self._at):
            now = os.fstat(self._fd)
        if [now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns] != self._seen:
            raise self._changed()

    def _changed(self) -> InvalidRootfs:
        return self._source.refused(*self._at, "changed", "it was changed while it was read")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
