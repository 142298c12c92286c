"""Records of results that do not show what they were made from: conversions, and disks without a TOC.

A record is a note in the cache, never an authority: the file's bytes are hashed again before it is believed.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from haulout.disk import data_extents, is_zero
from haulout.errors import HauloutError
from haulout.fetch import cache
from haulout.local import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.oci import Digest, SizedDigest

_CHUNK: Final = 1 << 20


def fingerprint(fd: int) -> str:
    """Hash a file's size and every 1 MiB chunk that is not all zero, with its place: content counts, holes do not."""
    size = os.fstat(fd).st_size
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    done = 0
    for extent in data_extents(fd, size):
        start = max(extent.offset // _CHUNK * _CHUNK, done)
        while start < extent.end:
            chunk = os.pread(fd, _CHUNK, start)
            if not is_zero(chunk):
                digest.update(start.to_bytes(8, "little"))
                digest.update(chunk)
            start += _CHUNK
        done = start
    return digest.hexdigest()


class Records:
    """The records of one user."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = cache.CacheFolder.at(folder) if folder is not None else cache.folder("pulls")

    def holds(self, target: Path, manifest: Digest, form: str, *, checked: SizedDigest | None = None) -> bool:
        """Return whether ``target`` is, byte for byte, what an earlier pull of ``manifest`` made in format ``form``.

        Args:
            target: the file.
            manifest: what it would be made from.
            form: in which format.
            checked: it must have been made from a disk that was hashed as a whole, and was this one; None: any.
        """
        record = self.note(target)
        if record.get("manifest") != str(manifest) or record.get("form") != form:
            return False
        if checked is not None and record.get("checked") != str(checked):
            return False
        try:
            with open_regular(target, follow=False) as fd:
                return bool(record.get("fingerprint") == fingerprint(fd))
        except (OSError, HauloutError):
            return False

    def note(self, target: Path) -> dict[str, Any]:
        """Return what is noted of the file at ``target``; nothing: empty."""
        return self._folder.note(_name(target)) or {}

    def notes(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield what each record is about, and what it says."""
        for name in self._folder.files(".json"):
            note = self._folder.note(name) or {}
            if (path := cache.path_in(note)) is not None:
                yield path, note

    def remember(
        self, target: Path, manifest: Digest, form: str, fd: int, *, checked: SizedDigest | None = None
    ) -> None:
        """Note what ``target`` is, or is about to be. A cache that cannot be written costs only a later pull.

        Args:
            target: where the result is, or will appear.
            manifest: what it is made from.
            form: in which format.
            fd: its bytes, open for reading.
            checked: the disk it is made from, if that was hashed as a whole.
        """
        with suppress(OSError):
            note = {
                "path": str(target.absolute()),
                "manifest": str(manifest),
                "form": form,
                "fingerprint": fingerprint(fd),
                "checked": None if checked is None else str(checked),
            }
            self._folder.put_note(_name(target), note)


def _name(target: Path) -> str:
    return f"{hashlib.sha256(os.fsencode(target.absolute())).hexdigest()}.json"
