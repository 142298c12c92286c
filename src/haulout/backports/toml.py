"""Read TOML that people wrote, with errors that say where; change it without losing their comments."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from haulout.errors import ConflictError, InvalidFile, NotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tomlkit import TOMLDocument

_LARGEST: Final = 8 << 20
"""Bytes of a file read; nobody keeps so much by hand."""

PATIENCE: Final = 10.0
"""Seconds to wait for another process to have written: each needs a moment, unless it is stopped."""


@dataclass(frozen=True, slots=True)
class Table:
    """A parsed table that knows its place, for errors; asks for values by type."""

    path: Path
    values: Mapping[str, Any]
    where: str = ""

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string that is one line; ``default`` None: it must be there."""
        value = self.values.get(key, default)
        if value is None:
            raise self.wrong(key, "is missing")
        if not isinstance(value, str) or (not value.strip() and default is None) or "\n" in value or "\0" in value:
            raise self.wrong(key, "must be a line of text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; a single string is a list of one, and nothing an empty one."""
        value = self.values.get(key, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(one, str) and one and "\n" not in one for one in value):
            raise self.wrong(key, "must be a list of texts")
        return tuple(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def tables(self, key: str) -> list[Self]:
        """Return an array of tables."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.wrong(key, f"must be an array of tables, [[{key}]]")
        return [type(self)(self.path, one, f"{key}[{number}]") for number, one in enumerate(value)]

    def only(self, *known: str) -> None:
        """Refuse keys nobody would read: most are slips of the keyboard."""
        for key in self.values:
            if key not in known:
                raise self.wrong(key, "is not a known key", hint=f"known: {', '.join(known)}")

    def wrong(self, key: str, reason: str, *, hint: str | None = None) -> InvalidFile:
        """Return the error about a key."""
        return InvalidFile(self.path, reason, where=f"{self.where}.{key}" if self.where else key, hint=hint)


def load(path: Path) -> Table:
    """Read a file.

    Raises:
        NotFoundError: there is none.
        InvalidFile: it is no TOML.
        StorageError: it cannot be read.
    """
    return Table(path, parse(path, read(path)))


def read(path: Path) -> str:
    """Return a file's text."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}") from None
    except OSError as error:
        raise StorageError(os.fspath(path), error.strerror or "cannot be read") from error
    if len(raw) > _LARGEST:
        raise InvalidFile(path, f"is larger than {_LARGEST >> 20} MiB")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidFile(path, f"is not UTF-8 text, at byte {error.start}") from error


def parse(path: Path, text: str) -> dict[str, Any]:
    """Parse a file's text."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidFile(path, f"is not TOML: {error}"[:300]) from error


def edit(path: Path, text: str) -> TOMLDocument:
    """Parse a text so that comments and order survive being written again."""
    from tomlkit import parse as parse_kept  # noqa: PLC0415 - slow to import, and only for writing
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        return parse_kept(text)
    except TOMLKitError as error:
        raise InvalidFile(path, f"is not TOML: {error}"[:300]) from error


def entries(document: TOMLDocument, key: str) -> Any:
    """Return an array of tables of a document to append to; one written inline, ``[{…}]``, becomes tables."""
    import tomlkit  # noqa: PLC0415 - slow to import
    from tomlkit.items import AoT  # noqa: PLC0415

    found = document.get(key)
    if isinstance(found, AoT):
        return found
    made = tomlkit.aot()
    for one in found or ():
        table = tomlkit.table()
        for name, value in one.items():
            table[name] = value
        made.append(table)
    if found is not None:
        del document[key]
    document[key] = made
    return document[key]


def store(path: Path, text: str) -> None:
    """Write a file as a whole: it has the old content or the new one, whatever happens.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, mode)  # noqa: PTH101 - a name of tempfile's
            # A ledger may be a link to where it is kept.
            os.replace(name, path.resolve())  # noqa: PTH105
        except BaseException:
            os.unlink(name)  # noqa: PTH108
            raise
    except OSError as error:
        raise StorageError(os.fspath(path), error.strerror or "cannot be written") from error


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file could be written, or which could not be made, before any work is done.

    Raises:
        StorageError: what is in the way.
    """
    try:
        with tempfile.TemporaryFile(prefix=".haulout-", dir=_there(folder)):
            return
    except OSError as error:
        raise StorageError(os.fspath(folder), error.strerror or "cannot be written") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let nobody else who asks for it read and write a folder's files meanwhile; two at once would lose an entry.

    Where a file system has no such locks, or the folder cannot be read, there is none.

    Raises:
        ConflictError: somebody else has held it for :data:`PATIENCE` seconds.
    """
    place = _there(folder)
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        if not _locked(descriptor):
            raise ConflictError(
                f"another haulout has been writing in {place} for {PATIENCE:g} s",
                hint=f"let it finish, or end it if it is stopped; lslocks tells which process has locked {place}",
            )
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Take the lock of a folder, waiting for it a while; say whether nobody else has it."""
    deadline = time.monotonic() + PATIENCE
    pause = 0.001
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        except OSError:
            return True
        else:
            return True
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _there(folder: Path) -> Path:
    """Return a folder, or the nearest above it that there is."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
