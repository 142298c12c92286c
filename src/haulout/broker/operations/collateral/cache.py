"""Certificates and collateral of vendors in a folder: verified before they are kept, replaced only by newer ones."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.documents import Document
from haulout.errors import InvalidEvidence, NotFoundError
from haulout.local import read_small, replace_file, storage_errors
from haulout.tee import accept, identify, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from haulout.tee import Needs, Publication, Span

LARGEST: Final = 1 << 20
"""Bytes of a file; the largest known has 60 KB."""
EARLY: Final = "intel/early/"
_RENEWED: Final = ("crl.der", "*.json")
_REMEMBERED: Final = 4096
_FRESH_SECONDS: Final = 30.0
"""How long a file read is taken for the one in the folder, which several brokers may share."""


@dataclass(frozen=True, slots=True)
class Entry(Document):
    """A file that is kept.

    Attributes:
        name: its path in the folder.
        publication: what it is; None where it is nothing known.
        span: from when until when it holds; None where it is not genuine, or not valid now.
        fetched: when it was last received.
        problem: why there is no span.
    """

    name: str
    publication: Publication | None
    span: Span | None
    fetched: datetime
    problem: str | None = None

    json_members: ClassVar = (
        "name",
        "title=publication.title",
        "address=publication.address",
        "issued=span.issued",
        "until=span.until",
        "fetched",
        "problem",
    )


@dataclass(frozen=True, slots=True)
class Found:
    """What the cache has of what some evidence needs.

    Attributes:
        content: by the publications' names.
        missing: what it does not have, or only expired.
    """

    content: dict[str, bytes] = field(repr=False)
    missing: tuple[Publication, ...]


class Cache:
    """A folder of publications. Several processes may use it: files are replaced whole.

    Nothing in it is secret, and nothing in it is trusted: evidence is verified with it as if the guest had sent it.

    Args:
        folder: made when something is kept first.
        trusted: returns the fingerprints of roots trusted besides the vendors', for tests.
        clock: the time now, with a time zone.
    """

    def __init__(
        self,
        folder: Path,
        *,
        trusted: Callable[[], Collection[str]] = frozenset,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = folder
        self._trusted = trusted
        self._clock = clock
        self._lock = Lock()
        self._read: dict[str, tuple[datetime, bytes]] = {}

    def get(self, publication: Publication) -> bytes | None:
        """Return what is kept of a publication, expired or not; None: nothing."""
        now = self._clock()
        with self._lock:
            known = self._read.get(publication.name)
        if known is not None and 0 <= (now - known[0]).total_seconds() < _FRESH_SECONDS:
            return known[1]
        try:
            data = read_small(self._path(publication), LARGEST)
        except NotFoundError:
            return None
        self._remember(publication, data, now)
        return data

    def find(self, needs: Needs) -> Found:
        """Return what is kept of what some evidence needs."""
        content = {one.name: data for one in needs.all if (data := self.get(one)) is not None}
        return Found(content, tuple(one for one in needs.all if one.name not in content))

    def keep(self, publication: Publication, data: bytes) -> Entry:
        """Verify what was received, and keep it unless what is there was issued later.

        Raises:
            InvalidEvidence: it is not that publication, not genuine, not valid now, or older than what is kept.
            StorageError: the folder cannot be written.
        """
        span = self._accept(publication, data)
        there, older = self.get(publication), False
        if there is not None and there != data:
            # Whoever answers for the vendor must not bring back an old list or rating. What is not valid is replaced.
            with contextlib.suppress(InvalidEvidence):
                older = self._accept(publication, there).issued > span.issued
        if older:
            reason = f"it was issued at {stamp(span.issued)}, before the one that is kept"
            raise InvalidEvidence(publication.title, reason)
        path = self._path(publication)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data, durable=False)
        now = self._clock()
        self._remember(publication, data, now)
        return Entry(publication.name, publication, span, now)

    def entries(self, *, renewed: bool = False) -> Iterator[Entry]:
        """Yield what is kept, by name.

        Args:
            renewed: without what vendors never replace, of which there is a file for each chip.
        """
        for path in sorted(one for pattern in (_RENEWED if renewed else ("*",)) for one in self.folder.rglob(pattern)):
            if path.name.startswith(".") or not path.is_file():
                continue
            with contextlib.suppress(NotFoundError):
                yield self._entry(path)

    def _entry(self, path: Path) -> Entry:
        name = path.relative_to(self.folder).as_posix()
        data = read_small(path, LARGEST)
        fetched = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        publication: Publication | None = None
        try:
            named = (one for one, _ in identify(data, name, early=name.startswith(EARLY)) if one.name == name)
            publication = next(named, None)
            if publication is None:
                return Entry(name, None, None, fetched, "it is not what its name says")
            return Entry(name, publication, self._accept(publication, data), fetched)
        except InvalidEvidence as exc:
            return Entry(name, publication, None, fetched, exc.reason)

    def _accept(self, publication: Publication, data: bytes) -> Span:
        above = publication.above
        needed = b"" if above is None else self.get(above)
        if needed is None:
            assert above is not None
            raise InvalidEvidence(publication.title, f"{above.title}, with which it is verified, is not in the cache")
        trusted = self._trusted()
        return accept(publication, data, at=self._clock(), above=needed, trusted=trusted, test=bool(trusted))

    def _path(self, publication: Publication) -> Path:
        return self.folder / publication.name

    def _remember(self, publication: Publication, data: bytes, now: datetime) -> None:
        with self._lock:
            while len(self._read) >= _REMEMBERED:
                del self._read[next(iter(self._read))]
            self._read[publication.name] = now, data
