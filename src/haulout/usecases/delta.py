"""Delta: from two published disks to a delta between them, attached to the newer one."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import TYPE_CHECKING

from haulout.errors import ContentError, NotFoundError
from haulout.extras import require
from haulout.frames import BLOCK, DEFAULT_LEVEL
from haulout.local import processors
from haulout.oci import Architecture
from haulout.places import Places
from haulout.progress import NullProgress
from haulout.publish import AttachedDelta, DeltaEnd, DeltaMaker, DeltaResult, PublishedDelta, StoredDisk
from haulout.resolve import DiskQuery
from haulout.usecases.arguments import architecture_of, disk_type_of, path_of, reference_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from haulout.disk import DiskType
    from haulout.frames import Toc
    from haulout.oci import Reference, SizedDigest
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_CONNECTIONS = 4


def delta(  # noqa: PLR0913 - each is one word of the request
    old: str | Reference,
    new: str | Reference,
    *,
    architecture: str | Architecture | None = None,
    disk_type: str | DiskType | None = None,
    old_file: str | os.PathLike[str] | None = None,
    new_file: str | os.PathLike[str] | None = None,
    level: int = DEFAULT_LEVEL,
    again: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> DeltaResult:
    """Publish what changed from one disk to another, as a referrer of the newer one.

    A client that has the old disk, in any file, fetches little more than that. Where a delta between these two
    disks is attached already, nothing is done.

    Args:
        old: a reference to the disk that people have; it may be anywhere.
        new: a reference to the disk that they will pull, published by ``push``. The delta is put beside it.
        architecture: whose disks; None for this machine's.
        disk_type: which hypervisor's; None for qemu, or the only one there is.
        old_file: the plain old disk, if it is here; compared with what ``old`` says. None: it is pulled.
        new_file: the same of the new one.
        level: zstd level, 1 to 22.
        again: make it again, even where one is attached.
        connections: how registries are reached.
        progress: receives the work.
        jobs: segments compressed at a time; None: one for each processor.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`; nothing is attached then.
    """
    begun = time.monotonic()
    require("numpy", extra="deltas")
    progress = progress or NullProgress()
    query = DiskQuery(
        Architecture.here() if architecture is None else architecture_of(architecture),
        None if disk_type is None else disk_type_of(disk_type),
    )
    files = [None if file is None else path_of(file) for file in (old_file, new_file)]
    target = reference_of(new)
    with Places(connections, progress) as places:
        find = finder(places)
        older, newer = (
            DeltaEnd.of(find(each, query), progress, file)
            for each, file in zip((reference_of(old), target), files, strict=True)
        )
        maker = DeltaMaker(FetchedForDelta(progress), level=level, jobs=jobs or processors(), progress=progress)
        made = maker.make(older, newer, lambda: places.open(target, push=True), again=again)
        published = {field.name: getattr(made, field.name) for field in fields(PublishedDelta)}
        return DeltaResult(**published, traffic=places.traffic, seconds=time.monotonic() - begun)


def finder(places: Places) -> Callable[[Reference, DiskQuery], StoredDisk]:
    """Return what finds a disk in one of the places of a session."""
    return lambda reference, query: StoredDisk(places.open(reference), places.resolve(reference, query))


class FetchedForDelta:
    """Fetches what the making of a delta needs: :class:`haulout.publish.DeltaFetching`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def pull(self, end: DeltaEnd, target: Path, seeds: Sequence[Path]) -> None:
        """Pull a disk to ``target``, reusing blocks of ``seeds``."""
        from haulout.fetch import PullOptions, pull_disk  # noqa: PLC0415 - heavy, and most pushes make no delta

        options = PullOptions(seeds=tuple(seeds), jobs=_CONNECTIONS)
        pull_disk(end.store, end.found, target, options, self._progress)

    def attached(self, end: DeltaEnd, toc: Toc, source: SizedDigest) -> Iterator[AttachedDelta]:
        """Yield the deltas to a disk that are from ``source``."""
        from haulout.fetch import load_index, offered  # noqa: PLC0415 - heavy, and most pushes make no delta

        for offer in offered(end.store, end.found, toc, known=[source]):
            if offer.source != source:
                continue
            try:
                index = load_index(end.store, offer, toc)
            except (ContentError, NotFoundError) as error:
                self._progress.note(f"the delta attached already cannot be used ({error}); making another")
                continue
            new, segments = index.new_blocks * BLOCK, len(index.segments)
            yield AttachedDelta(offer.manifest, source, offer.index, offer.hints, offer.data, new, segments)
