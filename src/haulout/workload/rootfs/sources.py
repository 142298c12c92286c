"""Where the bytes of files are, and how they are read again: in ascending order of their offsets, once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class Reader(Protocol):
    """One pass over a source."""

    def begin(self, offset: int) -> None:
        """Go to the file at ``offset``, which is not before the last one."""

    def fill(self, view: memoryview) -> None:
        """Read the next bytes into the whole of ``view``.

        Raises:
            InvalidRootfs: there are not so many, or they are not what was there in the first pass.
        """


class Source(Protocol):
    """Holds the bytes of files; what an offset means is its own affair."""

    @property
    def name(self) -> str:
        """Such as ``layer 2``."""

    def reader(self) -> AbstractContextManager[Reader]:
        """Begin a pass."""


class Held:
    """Small files, held in memory; an offset is an index."""

    def __init__(self, files: tuple[bytes, ...] = ()) -> None:
        self.files = files

    @property
    def name(self) -> str:
        """What errors call it."""
        return "memory"

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Begin a pass."""
        yield _HeldReader(self.files)


class _HeldReader:
    def __init__(self, files: tuple[bytes, ...]) -> None:
        self._files = files
        self._rest = memoryview(b"")

    def begin(self, offset: int) -> None:
        self._rest = memoryview(self._files[offset])

    def fill(self, view: memoryview) -> None:
        view[:] = self._rest[: len(view)]
        self._rest = self._rest[len(view) :]
