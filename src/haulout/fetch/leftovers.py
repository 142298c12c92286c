"""Partial files that interrupted pulls left: noted in the cache when they are begun, so that they can be found."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from haulout.fetch import cache
from haulout.local import hold
from haulout.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTIAL: Final = re.compile(r"\..+\.[0-9a-f]{12}\.[a-z]+\.partial")
"""Names of partial files: that of the target, the beginning of a digest, and the part."""

_MOST_NOTES: Final = 64
"""Notes that may be there before those of killed pulls are looked through."""


@contextmanager
def noted(path: Path) -> Iterator[None]:
    """Keep a note of a partial file while it is there. A cache that cannot be written costs only that."""
    notes = cache.folder("partials")
    name = f"{Digest.of(os.fsencode(path.absolute())).hex}.json"
    with suppress(OSError):
        notes.put_note(name, {"path": str(path.absolute())})
        if len(notes.files(".json")) > _MOST_NOTES:
            forget_finished()
    try:
        yield
    finally:
        if not os.path.lexists(path):
            notes.remove(name)


def leftovers() -> list[Path]:
    """Return the partial files that are noted and still there, also of pulls that are under way.

    Those that machines run from are none: beside such a target is a note, ``TARGET.lazy``.
    """
    return [path for _, path in _noted() if path is not None and not _is_base(path)]


def _is_base(path: Path) -> bool:
    target = path.name[1:].rsplit(".", 3)[0]
    return path.with_name(f"{target}.lazy").exists()


def forget_finished() -> None:
    """Remove the notes of files that are gone."""
    for name, path in [*_noted()]:
        if path is None:
            cache.folder("partials").remove(name)


def _noted() -> Iterator[tuple[str, Path | None]]:
    notes = cache.folder("partials")
    for name in notes.files(".json"):
        path = cache.path_in(notes.note(name) or {})
        is_there = path is not None and PARTIAL.fullmatch(path.name) and path.is_file() and not path.is_symlink()
        yield name, path if is_there else None


def remove_unlocked(path: Path, *, dry_run: bool = False) -> bool:
    """Remove a partial file, unless a pull is writing it; return whether it is gone, or would be."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if hold(fd):
                if not dry_run:
                    path.unlink()
                return True
        finally:
            os.close(fd)
    return False
