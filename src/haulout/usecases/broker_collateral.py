"""Certificates and collateral of vendors in a folder: fetched, imported, listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.broker.operations import Cache, Entry, Services, fetch
from haulout.documents import Document
from haulout.errors import NotFoundError, StorageError
from haulout.http import Client, HttpOptions
from haulout.local import read_small
from haulout.tee import KDS, PCS, identify, publications

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from haulout.tee import Publication

_LARGEST: Final = 4 << 20
_MOST_FILES: Final = 100_000


@dataclass(frozen=True, slots=True)
class CollateralReport(Document):
    """What is in the folder, or what of it was just kept.

    Attributes:
        folder: of certificates and collateral.
        entries: each file.
    """

    folder: Path
    entries: tuple[Entry, ...]

    json_members: ClassVar = ("folder", "entries", "problems")

    @property
    def problems(self) -> int:
        """Return how many files are of no use: not genuine, or not valid now."""
        return sum(one.problem is not None for one in self.entries)


def list_collateral(folder: Path, *, test_roots: Iterable[str] = ()) -> CollateralReport:
    """List what is in a folder, verified.

    Args:
        folder: of certificates and collateral; need not be there yet.
        test_roots: SHA-256 of roots that are trusted besides the vendors', for tests.

    Raises:
        StorageError: it cannot be read.
    """
    return CollateralReport(folder, tuple(_cache(folder, test_roots).entries()))


def fetch_collateral(
    folder: Path,
    evidence: Iterable[Path] = (),
    *,
    early: bool = False,
    kds: str = KDS,
    pcs: str = PCS,
    options: HttpOptions | None = None,
    test_roots: Iterable[str] = (),
) -> CollateralReport:
    """Fetch what some evidence needs from its vendors; without evidence, what is there and vendors renew, anew.

    Args:
        folder: of certificates and collateral.
        evidence: files, each a report or quote.
        early: also Intel's documents as they will be after its next TCB recovery.
        kds: URL of AMD's service, or of what caches it.
        pcs: URL of Intel's service, or of what caches it.
        options: how they are reached.
        test_roots: SHA-256 of roots that are trusted besides the vendors', for tests.

    Raises:
        InvalidEvidence: a file is not evidence, or a service sent what is not genuine.
        HauloutError: something cannot be fetched; what was before it is kept.
    """
    cache = _cache(folder, test_roots)
    wanted: dict[str, Publication] = {}
    for path in evidence:
        data = read_small(path, _LARGEST)
        for needs in (publications(data), *((publications(data, early=True),) if early else ())):
            wanted |= {one.name: one for one in needs.all if one.address}
    if not evidence:
        wanted = {one.name: one.publication for one in cache.entries(renewed=True) if one.publication is not None}
    services = Services(kds, pcs)
    with Client(options or HttpOptions()) as client:
        return CollateralReport(folder, tuple(fetch(one, cache, client, services) for one in wanted.values()))


def import_collateral(
    folder: Path, files: Iterable[Path], *, early: bool = False, test_roots: Iterable[str] = ()
) -> CollateralReport:
    """Keep what files hold, once it is verified: certificates, revocation lists, collateral, or folders of them.

    Args:
        folder: of certificates and collateral.
        files: files, or folders, such as the one of another broker.
        early: whether it is what Intel announces; in a folder of another broker that is known.
        test_roots: SHA-256 of roots that are trusted besides the vendors', for tests.

    Raises:
        InvalidEvidence: a file holds nothing that is known, or what is not genuine or not valid now.
        NotFoundError: a file does not exist.
    """
    cache = _cache(folder, test_roots)
    held = [
        identify(read_small(path, _LARGEST), str(path), early=early or "early" in path.parts[-3:-1])
        for path in _files(files)
    ]
    names = {publication.name for each in held for publication, _ in each}

    def verifiable(publication: Publication) -> bool:
        above = publication.above
        return above is None or above.name in names or cache.get(above) is not None

    # AMD's lists for both kinds of keys have the same issuer: what can be verified is kept, or else all is tried.
    chosen = [[pair for pair in each if verifiable(pair[0])] or each for each in held]
    # Those first that others are verified with.
    ordered = sorted((pair for each in chosen for pair in each), key=lambda pair: pair[0].above is not None)
    return CollateralReport(folder, tuple(cache.keep(publication, data) for publication, data in ordered))


def _files(files: Iterable[Path]) -> Iterator[Path]:
    for path in files:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
        if len(inside) > _MOST_FILES:
            raise StorageError(str(path), f"it has more than {_MOST_FILES} files")
        if not inside:
            raise NotFoundError(f"there is no file in {path}")
        yield from inside


def _cache(folder: Path, test_roots: Iterable[str]) -> Cache:
    roots = frozenset(root.lower() for root in test_roots)
    return Cache(folder, trusted=lambda: roots)
