"""Seeds: local files from which blocks may be reused, those of earlier pulls above all.

Every pull leaves a note in the cache: where its disk is, and the table of contents it had then. A note is only a hint:
whatever is taken from the file is hashed again.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import InvalidToc, NotFoundError, StorageError
from haulout.fetch import cache
from haulout.frames import MAX_TOC_BYTES, Toc
from haulout.local import open_regular, snapshot, storage_errors
from haulout.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_MOST_NOTES: Final = 64
_MOST_FOUND: Final = 8
"""Notes looked at by one pull, the latest first."""


class Seed:
    """An open local file.

    Args:
        path: where it was found.
        fd: it, open for reading; closed by the caller.
        toc: what it held when its pull ended, if it has not been changed since; None where nothing is known.
        named: whether the user named it.
        folder: where a snapshot of it may be made; None: nowhere.
    """

    def __init__(self, path: Path, fd: int, toc: Toc | None, *, named: bool, folder: Path | None) -> None:
        self.path = path
        self.fd = fd
        self.toc = toc
        self.named = named
        self._folder = folder
        self.shared = False
        """Whether it is a snapshot now, of which parts can be cloned."""

    def settle(self) -> None:
        """Let it hold from now on what it holds now, if the file system can take a snapshot of it."""
        if self._folder is not None and not self.shared and (fixed := snapshot(self.fd, self._folder)) is not None:
            os.close(self.fd)
            self.fd, self.shared = fixed, True


class SeedNotes:
    """The notes of one user."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = cache.CacheFolder.at(folder) if folder is not None else cache.folder("seeds")

    def remember(self, path: Path, name: str, toc: Toc | None) -> None:
        """Note that the disk at ``path`` was pulled from ``name``. A cache that cannot be written costs only speed."""
        with suppress(OSError):
            where = path.absolute()
            note: dict[str, Any] = {"path": os.fspath(where), "name": name, "state": _state(where.stat()), "toc": None}
            if toc is not None:
                data = toc.encode()
                note["toc"] = Digest.of(data).hex
                self._folder.put(f"{note['toc']}.toc", data)
            self._folder.put_note(_note_name(path), note)
            self._prune()

    def recall(self, name: str) -> Iterator[tuple[Path, Toc | None]]:
        """Yield files of earlier pulls that are still there: those of ``name`` first, the latest first among equals."""
        notes = [(path, note) for _, path, note in islice(self.notes(), _MOST_NOTES) if path is not None]
        notes.sort(key=lambda found: found[1].get("name") != name)  # stable: the latest stay first
        for path, note in notes[:_MOST_FOUND]:
            with suppress(OSError):
                found = path.stat()
                if found.st_size and not found.st_blocks:
                    # Nothing but holes, or no file of a disk, such as /proc/kcore.
                    continue
                unchanged = note.get("state") == _state(found)
                yield path, self._toc(note.get("toc")) if unchanged else None

    def untouched(self, path: Path) -> tuple[bool, Toc | None]:
        """Return whether a file has the bytes that its pull left, by inode, size and time of writing, and its table."""
        with suppress(OSError):
            note = self._folder.note(_note_name(path)) or {}
            stated = note.get("state")
            # A new owner or mode, as libvirt gives to disks it uses, changes the last time alone.
            if isinstance(stated, list) and stated[:3] == _state(path.stat())[:3]:
                return True, self._toc(note.get("toc"))
        return False, None

    def pulled(self) -> Iterator[tuple[Path, str, Toc | None, bool]]:
        """Yield the files that are still there: where each came from, its table then, and whether it is as it was."""
        for _, path, note in self.notes():
            with suppress(OSError):
                if path is not None:
                    unchanged = note.get("state") == _state(path.stat())
                    yield path, str(note.get("name")), self._toc(note.get("toc")), unchanged

    def notes(self) -> Iterator[tuple[str, Path | None, dict[str, Any]]]:
        """Yield the names of notes, the latest first, what each is about, and what it says; None: nothing."""
        for name in self._folder.files(".json"):
            note = self._folder.note(name) or {}
            yield name, cache.path_in(note), note

    def _toc(self, name: object) -> Toc | None:
        data = self._folder.read(f"{name}.toc", MAX_TOC_BYTES)
        if data is None or Digest.of(data).hex != name:
            return None
        with suppress(InvalidToc):
            return Toc.decode(data)
        return None

    def _prune(self) -> None:
        """Forget files that are gone, the oldest of too many, and tables that no note names."""
        kept: set[str] = set()
        for number, (name, path, note) in enumerate(self.notes()):
            if number < _MOST_NOTES and not _is_gone(path, note):
                kept.add(f"{note.get('toc')}.toc")
            else:
                self._folder.remove(name)
        for name in self._folder.files(".toc"):
            if name not in kept:
                self._folder.remove(name)


@contextmanager
def open_seeds(
    named: Sequence[Path], target: Path, notes: SeedNotes | None, name: str, *, settle: bool = True
) -> Iterator[list[Seed]]:
    """Open what may serve as seeds, for as long as the block lasts.

    Args:
        named: files the user named; each must be there.
        target: an old result at this place is a seed, too.
        notes: of earlier pulls; None: none are looked for.
        name: repository or layout that is pulled from.
        settle: whether those that are used may become snapshots beside the target.

    Raises:
        NotFoundError: a named file is not there.
        StorageError: a named file cannot be read, or is not a regular file.
    """
    seeds: list[Seed] = []
    seen: set[tuple[int, int]] = set()

    def take(path: Path, toc: Toc | None, *, is_named: bool) -> None:
        fd = _open(path, is_named=is_named)
        if fd is None:
            return
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) in seen:
            os.close(fd)
            return
        seen.add((found.st_dev, found.st_ino))
        seeds.append(Seed(path, fd, toc, named=is_named, folder=target.parent if settle else None))

    try:
        recalled = list(notes.recall(name)) if notes is not None else []
        known = {os.fspath(path): toc for path, toc in recalled}
        for path in named:
            take(path, known.get(os.fspath(path.absolute())), is_named=True)
        if notes is not None:
            take(target, known.get(os.fspath(target.absolute())), is_named=False)
        for path, toc in recalled:
            take(path, toc, is_named=False)
        yield seeds
    finally:
        for seed in seeds:
            os.close(seed.fd)


def _open(path: Path, *, is_named: bool) -> int | None:
    try:
        with open_regular(path, follow=is_named) as fd, storage_errors(path):
            return os.dup(fd)
    except NotFoundError:
        if is_named:
            raise NotFoundError(f"no seed {path}", hint="name an existing file with --seed, or leave it out") from None
    except StorageError:
        if is_named:
            raise
    return None


def _note_name(path: Path) -> str:
    return f"{Digest.of(os.fsencode(path.absolute())).hex}.json"


def _state(found: os.stat_result) -> list[int]:
    """Return what changes when a file does."""
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _is_gone(path: Path | None, note: Mapping[str, Any]) -> bool:
    """Return whether the file of a note is gone; one whose name this locale cannot spell may be there in another."""
    stated = note.get("path")
    if path is None and isinstance(stated, str):
        try:
            os.fsencode(stated)
        except UnicodeEncodeError:
            return "\0" in stated
    return path is None or not os.path.lexists(path)
