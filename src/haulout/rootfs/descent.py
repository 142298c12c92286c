"""Directories below a folder, opened step by step: no symlink can lead a reader out of the folder.

No path is ever resolved by the system, for a part of it may be another one by the time it is. A directory is opened by
its name in the one above it, never through a symlink, and has to be the one that was listed. However long a path is, it
takes few descriptors: those of the lowest directories stay open, the others are opened again from the top.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT: Final = 24
"""Directories kept open, one below the other."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What the system says where something else is in the place of what was listed."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A directory as it was listed; equal to itself alone.

    Attributes:
        above: the one it is in; None for the folder at the top.
        name: its name there.
        identity: device and inode.
        depth: directories above it.
        length: bytes of its path below the top, with a slash before each name.
    """

    above: Place | None
    name: bytes
    identity: tuple[int, int]
    depth: int = 0
    length: int = 0

    def below(self, name: bytes, info: os.stat_result) -> Place:
        """Return a directory in this one."""
        return Place(self, name, (info.st_dev, info.st_ino), self.depth + 1, self.length + 1 + len(name))

    def path(self, name: bytes | None = None) -> bytes:
        """Return the path from the top, or that of ``name`` in it; the top's is empty."""
        parts = [place.name for place in self.upwards()]
        return b"/".join([*reversed(parts), *([] if name is None else [name])])

    def upwards(self) -> Iterator[Place]:
        """Yield this one and those above it, but not the top."""
        place = self
        while place.above is not None:
            yield place
            place = place.above


class Replaced(Exception):  # noqa: N818 - it names a finding, and never leaves this package
    """Something else is by now where ``place`` was."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place


class Descent:
    """A folder and directories below it, held open. Leave the ``with`` block when done.

    Raises:
        OSError: the folder cannot be opened; a symlink is followed to it, and to it alone.
    """

    def __init__(self, folder: bytes) -> None:
        self._top = os.open(folder, _DIRECTORY)
        self._open: deque[tuple[Place, int]] = deque()
        """The lowest of those on the way to where we are, each in the one before."""

    def top(self) -> os.stat_result:
        """Return what the folder is."""
        return os.fstat(self._top)

    def require_top(self, place: Place) -> None:
        """Check that the folder is the one that was listed.

        Raises:
            Replaced: it is another one by now.
        """
        _require_same(self._top, place)

    def enter(self, place: Place) -> int:
        """Return a directory's descriptor, which is good until another one is entered.

        Raises:
            Replaced: it, or one above it, is another one by now.
            OSError: it cannot be opened.
        """
        if self._open and self._open[-1][0] is place:
            return self._open[-1][1]
        way = list(place.upwards())
        while self._open and not self._leads_to(place, way):
            os.close(self._open.pop()[1])
        at = self._open[-1][1] if self._open else self._top
        begun = self._open[-1][0].depth if self._open else 0
        for step in reversed(way[: place.depth - begun]):
            at = _opened(step, at)
            self._open.append((step, at))
            if len(self._open) > _KEPT:
                os.close(self._open.popleft()[1])
        return at

    def _leads_to(self, place: Place, way: list[Place]) -> bool:
        lowest = self._open[-1][0]
        return lowest.depth <= place.depth and way[place.depth - lowest.depth] is lowest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        while self._open:
            os.close(self._open.pop()[1])
        os.close(self._top)


def _opened(place: Place, above: int) -> int:
    try:
        fd = os.open(place.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    except OSError as exc:
        if exc.errno in _GONE:
            raise Replaced(place) from exc
        raise
    try:
        _require_same(fd, place)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_same(fd: int, place: Place) -> None:
    now = os.fstat(fd)
    if (now.st_dev, now.st_ino) != place.identity:
        raise Replaced(place)
