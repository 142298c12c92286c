"""Scratch space: folders that other programs write into by name, and files without a name.

A folder is locked (``flock``) for as long as it is used. The lock dies with its process, however that dies, so a
folder without a lock is abandoned: the next to make a folder beside it removes it, with all it holds. A file without a
name is gone with its process.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from haulout.local.files import reopen
from haulout.local.locks import hold
from haulout.local.oserrors import storage_error, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

BESIDE: Final = ".haulout-"
"""Prefix of folders beside a target."""
APART: Final = "haulout-made-"
"""Prefix of folders in a temporary directory."""
_CHUNK: Final = 1 << 20


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a fresh folder in ``parent`` that no other user may enter; it is removed at the end.

    Raises:
        OSError: it cannot be made.
    """
    sweep(parent, prefix)
    place, fd = _locked(parent, prefix)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(fd)


def sweep(parent: Path, prefix: str) -> None:
    """Remove the folders with this prefix that killed processes of this user left in ``parent``; never fails."""
    ours = re.compile(re.escape(prefix) + "[a-z0-9_]{8}")
    with suppress(OSError):
        for path in parent.iterdir():
            if ours.fullmatch(path.name):
                with suppress(OSError):
                    _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid == os.geteuid() and hold(fd):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)


def _locked(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        place = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).absolute()
        # Between its making and its lock another process may have taken it for abandoned: then make another.
        with suppress(FileNotFoundError):
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if _is_held(fd) and place.exists():
                return place, fd
            os.close(fd)


def _is_held(fd: int) -> bool:
    try:
        return hold(fd)
    except OSError:
        # NFS does not lock folders: they are not swept there either.
        return True


def large_folder(stack: ExitStack) -> Path:
    """Make a private folder for large intermediate files, which ``stack`` removes.

    Raises:
        StorageError: no folder can be made in ``$TMPDIR``, or else ``/var/tmp``.
    """
    # /var/tmp rather than /tmp, which is often memory: a converted disk is large.
    parent = Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - a fresh private folder is made in it
    with storage_errors(parent):
        return stack.enter_context(scratch_folder(parent, APART))


@contextmanager
def private_folder(prefix: str, parent: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield a fresh folder in the temporary directory, or in ``parent``; as :func:`scratch_folder`.

    Raises:
        StorageError: it cannot be made.
    """
    place = Path(temporary_place() if parent is None else parent)
    with ExitStack() as stack:
        with storage_errors(place, doing="cannot make a temporary folder"):
            made = stack.enter_context(scratch_folder(place, prefix))
        yield made


def lasting_folder(prefix: str) -> Path:
    """Make a fresh folder in the temporary directory that stays until it is removed.

    Raises:
        StorageError: it cannot be made.
    """
    place = temporary_place()
    with storage_errors(place, doing="cannot make a folder"):
        return Path(tempfile.mkdtemp(prefix=prefix, dir=place)).resolve()


def nameless_file(folder: Path | None = None) -> IO[bytes]:
    """Open an unbuffered file without a name, in ``folder`` or the temporary directory; it ends with its descriptor.

    Raises:
        OSError: it cannot be made.
    """
    return tempfile.TemporaryFile(dir=folder, prefix="haulout-", buffering=0)


def temporary_place() -> str:
    """Return where temporary files go, for people."""
    try:
        return tempfile.gettempdir()
    except OSError:
        # No place that the standard library knows takes a file.
        return os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - for people


@contextmanager
def scratch_errors(what: str, room: str) -> Iterator[None]:
    """Turn refusals of the temporary directory into a :class:`~haulout.errors.StorageError`.

    Args:
        what: what is held, such as ``a layer``.
        room: what there has to be room for, for the hint.
    """
    try:
        yield
    except OSError as exc:
        raise storage_error(
            temporary_place(),
            exc,
            doing=f"cannot hold {what}",
            hint=f"set TMPDIR to a directory with room for {room}",
        ) from exc


class ScratchFile:
    """A file without a name. Leave the ``with`` block when done.

    Nothing is buffered: the call that brings a byte for which there is no room fails.

    Args:
        what: what is held, for errors, such as ``a layer``.
        room: what there has to be room for in ``$TMPDIR``, for their hint.

    Raises:
        StorageError: it cannot be made, or, from each method, cannot be written or read.
    """

    def __init__(self, what: str, room: str) -> None:
        self._what = what
        self._room = room
        self.size = 0
        with scratch_errors(what, room):
            self._file = nameless_file()

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Write behind the last byte."""
        self.put(self.size, data)

    def put(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write at a place, in bytes from the beginning."""
        rest = memoryview(data).cast("B")
        with scratch_errors(self._what, self._room):
            while rest:  # a disk that fills up takes a part before it refuses
                done = os.pwrite(self._file.fileno(), rest, offset)
                offset += done
                rest = rest[done:]
        self.size = max(self.size, offset)

    def parts(self) -> Iterator[bytes]:
        """Yield all of it, in order."""
        offset = 0
        while part := self._read(offset):
            yield part
            offset += len(part)

    def _read(self, offset: int) -> bytes:
        with scratch_errors(self._what, self._room):
            return os.pread(self._file.fileno(), _CHUNK, offset)

    def opened(self) -> BinaryIO:
        """Open it for reading, with a position of its own; the caller closes it."""
        with scratch_errors(self._what, self._room):
            return reopen(self._file.fileno())

    def close(self) -> None:
        """Give its room back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
