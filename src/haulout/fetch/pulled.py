"""What the cache knows of files that were pulled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.documents import Document
from haulout.errors import InvalidDigest, InvalidManifest
from haulout.fetch.records import Records
from haulout.fetch.seeds import SeedNotes
from haulout.oci import Digest, SizedDigest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class PulledFile(Document):
    """A file that an earlier pull made and that is still there, as far as the cache knows."""

    path: Path
    place: str | None
    """The repository or layout it came from; None where that was not noted."""
    manifest: Digest | None
    disk: SizedDigest | None
    """The plain disk it was made from."""
    unchanged: bool | None
    """Whether it is as the pull left it, judged by size and times; None where that was not noted."""

    @property
    def digests(self) -> frozenset[Digest]:
        """What it is known under."""
        return frozenset(filter(None, (self.manifest, self.disk.digest if self.disk else None)))


def pulled_files() -> Iterator[PulledFile]:
    """Yield the files of earlier pulls of this user, the latest first; a file may come twice."""
    for path, name, toc, unchanged in SeedNotes().pulled():
        if toc is not None:
            yield PulledFile(path, name, None, toc.disk, unchanged)
    for path, note in Records().notes():
        if path.is_file():
            yield PulledFile(path, None, _manifest(note), _checked(note), None)


def origin_of(path: Path) -> Digest | None:
    """Return the digest, of the plain disk or else the manifest, that a file was pulled as, if it is as it was then.

    None for any other file, and where the cache does not know.
    """
    untouched, toc = SeedNotes().untouched(path)
    if not untouched:
        return None
    return toc.disk.digest if toc is not None else _manifest(Records().note(path))


def _manifest(note: Mapping[str, object]) -> Digest | None:
    try:
        return Digest.parse(str(note.get("manifest")))
    except InvalidDigest:
        return None


def _checked(note: Mapping[str, object]) -> SizedDigest | None:
    try:
        return SizedDigest.parse(str(note.get("checked")), "checked")
    except InvalidManifest:
        return None
