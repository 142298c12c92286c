"""The cache as a whole: where it is, what it holds, and what of it can go."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.documents import Document
from haulout.fetch import cache
from haulout.fetch.leftovers import forget_finished, leftovers, remove_unlocked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PURPOSE = {
    "seeds": "tables of contents of pulled disks, for updates",
    "pulls": "records of pulled files, to recognise them",
    "partials": "notes of unfinished pulls",
}


@dataclass(frozen=True, slots=True)
class CacheFile(Document):
    """A file, with the bytes it takes."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class CacheFolderReport(Document):
    """One folder of the cache."""

    name: str
    purpose: str
    path: Path
    files: int
    size: int
    """Bytes the files take; those that are not the cache's own are not counted."""


@dataclass(frozen=True, slots=True)
class CacheReport(Document):
    """The cache, and what interrupted pulls left."""

    folder: Path
    folders: tuple[CacheFolderReport, ...]
    leftovers: tuple[CacheFile, ...]
    """Partial files of pulls, which the same pull resumes."""


def cache_report() -> CacheReport:
    """Look at the cache and the leftovers it knows of. Nothing is changed."""
    folders = []
    for name, purpose in _PURPOSE.items():
        place = cache.folder(name)
        files = [*place.files(".json"), *place.files(".toc")]
        folders.append(CacheFolderReport(name, purpose, place.path, len(files), sum(map(place.size, files))))
    return CacheReport(cache.folder("seeds").path.parent, tuple(folders), tuple(map(_file, leftovers())))


def clean_cache(*, everything: bool, partials: bool, dry_run: bool) -> tuple[CacheFile, ...]:
    """Remove what is of no use any more, and return it.

    Args:
        everything: all notes and tables, too: the next update of a disk fetches more.
        partials: partial files, too, unless a pull is writing them: the next pull begins anew.
        dry_run: whether to remove nothing.
    """
    gone = []
    for path in leftovers() if partials else ():
        found = _file(path)
        if remove_unlocked(path, dry_run=dry_run):
            gone.append(found)
    for name in _PURPOSE:
        place = cache.folder(name)
        for file in [*_notes_to_go(place, everything=everything), *_tables_to_go(place, everything=everything)]:
            gone.append(CacheFile(place.path / file, place.size(file)))
            if not dry_run:
                place.remove(file)
        gone += [CacheFile(place.path / file, size) for file, size in place.clean(dry_run=dry_run)]
    if not dry_run:
        forget_finished()
    return tuple(gone)


def _notes_to_go(place: cache.CacheFolder, *, everything: bool) -> Iterator[str]:
    for name in place.files(".json"):
        path = cache.path_in(place.note(name) or {})
        if everything or path is None or not os.path.lexists(path):
            yield name


def _tables_to_go(place: cache.CacheFolder, *, everything: bool) -> Iterator[str]:
    going = set(_notes_to_go(place, everything=everything))
    named = {f"{(place.note(name) or {}).get('toc')}.toc" for name in place.files(".json") if name not in going}
    yield from (name for name in place.files(".toc") if name not in named)


def _file(path: Path) -> CacheFile:
    with suppress(OSError):
        return CacheFile(path, path.lstat().st_blocks * 512)
    return CacheFile(path, 0)
