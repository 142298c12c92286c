"""Pull: from a reference to a verified, sparse, usable disk file."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.fetch import Aside, PullResult, storage_errors
from haulout.oci import Architecture, SizedDigest
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.resolve import DiskQuery, file_name, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.disk import DiskFormat, DiskType
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk

_DEFAULT_JOBS: Final = 4
_HEAVY: Final = "haulout.fetch.disk"
"""What needs numpy and decompression: loaded while the registry is asked which disk is meant."""


def pull(  # noqa: PLR0913 - each is one word of the request
    reference: Reference,
    *,
    architecture: Architecture | None = None,
    disk_type: DiskType | None = None,
    title: str | None = None,
    output: Path | None = None,
    as_format: DiskFormat | None = None,
    check_disk: bool = False,
    seeds: Sequence[Path] = (),
    find_seeds: bool = True,
    use_deltas: bool = True,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> PullResult:
    """Fetch one disk, verify it, and let it appear at its target in one step.

    An interrupted pull, however it ended, is continued by the next one to the same target. A target that holds the disk
    already is verified and left alone. On any error the target stays as it was.

    Args:
        reference: where the disk is.
        architecture: whose disk; None for this machine's.
        disk_type: which hypervisor's; None for qemu, or the only one there is.
        title: the file wanted of an artifact that holds several.
        output: target file, or a folder for it; None: its title, in the current folder.
        as_format: convert the disk to this format here.
        check_disk: hash the finished disk as a whole, too, before it is converted, and compare with what its publisher
            states; a conversion that is there already and was not checked is made again.
        seeds: local files, of any version and format, whose blocks may be reused.
        find_seeds: reuse blocks of earlier pulls, too, and of what is at the target.
        use_deltas: use a published delta where that is the cheapest way.
        dry_run: find out what would be fetched and reused, and stop there.
        connections: how registries are reached.
        progress: told of the work.
        jobs: parallel connections.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`; nothing else for bad input of any kind.
    """
    begun = time.monotonic()
    progress = progress or NullProgress()
    query = DiskQuery(architecture or Architecture.here(), disk_type, title)
    loading = Aside(lambda: import_module(_HEAVY), "load")
    with open_store(reference, connections or ConnectionOptions(), progress) as store:
        try:
            found = resolve(store, reference, query)
            target = _target(found, output, as_format)
        finally:
            # In any case: a process must not end in the middle of it.
            loading.result()
        from haulout.fetch import DiskPull, Wishes  # noqa: PLC0415 - loaded by now

        wishes = Wishes(as_format, check_disk, tuple(seeds), find_seeds, use_deltas, dry_run, jobs or _DEFAULT_JOBS)
        outcome = DiskPull(store, found, target, wishes, progress).run()
        return PullResult(
            reference=reference,
            pinned=found.pinned,
            architecture=found.architecture,
            disk_type=found.disk_type,
            shape="container-disk" if found.container_disk else str(found.shape),
            manifest=found.digest,
            blob=SizedDigest(outcome.layer.digest, outcome.layer.size),
            disk=outcome.disk,
            path=target,
            format=outcome.format,
            moved=outcome.moved,
            status=outcome.status,
            verified=outcome.verified,
            traffic=store.traffic,
            seconds=time.monotonic() - begun,
        )


def _target(found: ResolvedDisk, output: Path | None, as_format: DiskFormat | None) -> Path:
    if output is not None:
        with storage_errors(output):
            if not output.is_dir():
                return output
    return (output or Path()) / file_name(found, as_format)
