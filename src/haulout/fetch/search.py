"""Searching seeds for blocks. It begins before the wanted hints are here, so that hashing and fetching overlap."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from haulout.disk import Extent
from haulout.errors import StorageError
from haulout.extras import np
from haulout.fetch.background import BackgroundCall
from haulout.frames import Blocks, known_parts, scan, stored_parts
from haulout.local import processors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from haulout.fetch.seeds import Seed
    from haulout.frames import Toc, Wanted
    from haulout.oci import SizedDigest
    from haulout.progress import Progress, Task

_MOST_AHEAD: Final = 8 << 30
"""Bytes of seeds hashed before it is known what is wanted: all hashes are kept until then, 32 MiB of them."""
_PART: Final = 16 << 20
"""Bytes after which a search checks whether it was abandoned."""


class Search:
    """A search of some seeds.

    Args:
        toc: of the disk that is pulled.
        seeds: all there are.
        numbers: which of them are searched.
        progress: receives a task for each seed.
    """

    def __init__(self, toc: Toc, seeds: Sequence[Seed], numbers: Sequence[int], progress: Progress) -> None:
        self._toc = toc
        self._seeds = seeds
        self._numbers = numbers
        self._progress = progress
        self._stop = threading.Event()
        parts = {number: self._parts(number) for number in numbers}
        size = sum(part.length for extents in parts.values() for part in extents)
        self._ahead = BackgroundCall(lambda: self._scan(parts, None), "search") if size <= _MOST_AHEAD else None

    def finish(self, wanted: Wanted, sources: Collection[SizedDigest]) -> tuple[Blocks, ...]:
        """Return the wanted blocks of every seed.

        Args:
            wanted: what to look for.
            sources: disks to which deltas refer: of these, what both disks hold as whole frames is searched, too.
        """
        found = [_nothing()] * len(self._seeds)
        if self._ahead is not None:
            for number, blocks in self._ahead.result().items():
                found[number] = blocks.among(wanted)
        else:
            for number, blocks in self._scan({n: self._parts(n) for n in self._numbers}, wanted).items():
                found[number] = blocks
        shared = {
            number: known_parts(seed.toc, self._toc, shared=True)
            for number, seed in enumerate(self._seeds)
            if number in self._numbers and seed.toc is not None and seed.toc.disk in sources
        }
        for number, blocks in self._scan(shared, wanted).items():
            found[number] += blocks
        return tuple(found)

    def abandon(self) -> None:
        """End it soon, wanted or not."""
        self._stop.set()
        if self._ahead is not None:
            with suppress(Exception):
                self._ahead.result()

    def _parts(self, number: int) -> list[Extent]:
        # Of a disk whose table is known, what both disks hold as whole frames need not be read.
        seed = self._seeds[number]
        return stored_parts(seed.fd) if seed.toc is None else known_parts(seed.toc, self._toc, shared=False)

    def _scan(self, parts: dict[int, list[Extent]], wanted: Wanted | None) -> dict[int, Blocks]:
        found: dict[int, Blocks] = {}
        for number, extents in parts.items():
            seed = self._seeds[number]
            try:
                with self._progress.task(f"searching {seed.path.name}", sum(part.length for part in extents)) as task:
                    found[number] = self._scan_one(seed.fd, wanted, task, extents)
            except StorageError as error:
                self._progress.note(f"cannot search {seed.path} for known blocks: {error}")
        return found

    def _scan_one(self, fd: int, wanted: Wanted | None, task: Task, extents: Sequence[Extent]) -> Blocks:
        with ThreadPoolExecutor(processors(), "scan") as pool:
            scans = list(pool.map(lambda part: self._scan_part(fd, wanted, task, part), _parted(extents)))
        scans.append(_nothing())
        return Blocks(np.concatenate([each.hints for each in scans]), np.concatenate([each.numbers for each in scans]))

    def _scan_part(self, fd: int, wanted: Wanted | None, task: Task, part: Extent) -> Blocks:
        return _nothing() if self._stop.is_set() else scan(fd, wanted, task, [part])


def _nothing() -> Blocks:
    return Blocks(np.empty(0, np.uint64), np.empty(0, np.int64))


def _parted(extents: Sequence[Extent]) -> Iterator[Extent]:
    for extent in extents:
        for start in range(extent.offset, extent.end, _PART):
            yield Extent(start, min(_PART, extent.end - start))
