"""The TOML files that people keep, the ledger and fix records: changed without losing comments, replaced whole."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import ConflictError, InvalidFile
from haulout.local import locked, nameless_file, read_text, replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tomlkit import TOMLDocument

LOCK_SECONDS: Final = 10.0
"""How long to wait for another process that is writing: each needs a moment, unless it is stopped."""


def edit(path: Path, default: str = "") -> TOMLDocument:
    """Parse a file so that comments and order survive being written again.

    Args:
        path: the file.
        default: its text where it does not exist yet; "": it must exist.
    """
    from tomlkit import parse  # noqa: PLC0415 - slow to import, and only for writing
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        return parse(default if default and not path.exists() else read_text(path))
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
        table.update(one)
        made.append(table)
    if found is not None:
        del document[key]
    document[key] = made
    return document[key]


def append(target: Any, values: dict[str, Any]) -> None:
    """Append a table to an array of tables."""
    import tomlkit  # noqa: PLC0415 - slow to import

    table = tomlkit.table()
    table.update(values)
    target.append(table)


def store(path: Path, text: str) -> None:
    """Write a file as a whole: it has the old content or the new one, whatever happens.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A ledger may be a link to where it is kept.
        replace_file(path.resolve(), text.encode())


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file could be written, or which could not be made, before any work is done.

    Raises:
        StorageError: what is in the way.
    """
    with storage_errors(folder):
        nameless_file(_existing(folder)).close()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while its files are read and written; two writers at once would lose an entry.

    Where a file system has no such locks, or the folder cannot be read, there is none.

    Raises:
        ConflictError: another process has held it for :data:`LOCK_SECONDS`.
    """
    place = _existing(folder).resolve()
    with ExitStack() as stack:
        busy = f"another haulout has been writing in {place} for {LOCK_SECONDS:g} s"
        try:
            stack.enter_context(locked(place, seconds=LOCK_SECONDS, busy=busy))
        except ConflictError as error:
            raise ConflictError(busy, hint=f"{error.hint}; lslocks shows which process has locked {place}") from None
        except OSError:
            # No locks here.
            pass
        yield


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place
