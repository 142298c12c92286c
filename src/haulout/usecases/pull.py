"""Pull: from a reference to a verified, sparse, usable disk file."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout import fetch, oci
from haulout.errors import NoMatchingDisk, UsageError
from haulout.fetch import BackgroundCall
from haulout.local import storage_errors
from haulout.oci import Architecture
from haulout.places import Places
from haulout.progress import NullProgress
from haulout.usecases.arguments import architecture_of, format_of, path_of, paths_of, reference_of, wanted_type_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from haulout.content import Store
    from haulout.disk import DiskFormat, DiskType
    from haulout.fetch import Fetched, PullOptions, PullResult
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.resolve import DiskQuery, ResolvedDisk

_RAW: Final = "applehv"
"""The disk type of raw disks."""


def pull(  # noqa: PLR0913 - each is one word of the request
    reference: str | Reference,
    *,
    architecture: str | Architecture | None = None,
    disk_type: str | DiskType | None = None,
    title: str | None = None,
    output: str | os.PathLike[str] | None = None,
    as_format: str | DiskFormat | None = None,
    check_disk: bool = False,
    seeds: Iterable[str | os.PathLike[str]] = (),
    find_seeds: bool = True,
    use_deltas: bool = True,
    dry_run: bool = False,
    device: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> PullResult:
    """Fetch one disk, verify it, and let it appear at its target in one step.

    A pull that was interrupted, in whatever way, is resumed by the next one to the same target. To cancel one, raise an
    exception of your own from ``advance`` of ``progress``: it ends the pull and arrives here. A target that is the disk
    already is verified and left alone. On any error the target stays as it was. Pulls to different targets may run in
    several threads.

    Args:
        reference: where the disk is.
        architecture: of the disk; None for this machine's.
        disk_type: which hypervisor's; None for qemu, or the only one there is.
        title: the file wanted of an artifact that holds several.
        output: target file, or a folder for it; None: its title, in the current folder.
        as_format: convert the disk to this format here.
        check_disk: hash the finished disk as a whole, too, before it is converted, and compare with what its publisher
            states; a conversion that is there already and was not checked is made again.
        seeds: local files, of any version and format, whose blocks may be reused.
        find_seeds: reuse blocks of earlier pulls, too, and of what is at the target.
        use_deltas: use a published delta where that is the cheapest way.
        device: ``output`` is a block device, and everything on it is replaced. Only what differs is written; it is read
            again in the end. A raw disk is chosen where there is one, else one is converted.
        dry_run: find out what would be fetched and reused, and stop there.
        connections: how registries are reached.
        progress: receives tasks and notes, from several threads.
        jobs: parallel connections.

    Raises:
        ConflictError: another pull is writing to the same target.
        HauloutError: see the tree in :mod:`haulout.errors`; nothing else for bad input of any kind.
    """
    begun = time.monotonic()
    progress = progress or NullProgress()
    if device and output is None:
        raise UsageError("--device needs the device", hint="name it with --output")
    reference = reference_of(reference)
    architecture = Architecture.here() if architecture is None else architecture_of(architecture)
    kind = None if disk_type is None else wanted_type_of(disk_type)
    wanted = None if as_format is None else format_of(as_format)
    # It loads decompression and conversion, once the registry has been asked and until it answers.
    loading = BackgroundCall(lambda: fetch.pull_disk, "load", begin=False)
    with Places(connections, progress, on_sent=loading.begin) as places:
        try:
            places.root(reference)
            from haulout.resolve import DiskQuery  # noqa: PLC0415 - not needed to ask

            query = DiskQuery(architecture, kind, title)
            # Prefer what a device can hold as it is.
            found = resolve_preferring(places, reference, query, _RAW) if device else places.resolve(reference, query)
            target = _target(found, None if output is None else path_of(output), wanted)
        finally:
            # In any case: a process must not end in the middle of it.
            loading.wait()
        options = fetch.PullOptions(
            as_format=wanted,
            check_disk=check_disk,
            seeds=paths_of(seeds),
            find_seeds=find_seeds,
            use_deltas=use_deltas,
            dry_run=dry_run,
        )
        options = replace(options, jobs=jobs) if jobs else options
        # Between resolving and fetching is the place to approve of what was found: nothing was fetched of it yet.
        run = fetch.pull_to_device if device else loading.result()
        return fetch_found(
            places,
            reference,
            found,
            target,
            options,
            progress,
            run=run,
            to=target.resolve() if device else target,
            begun=begun,
        )


def fetch_found(  # noqa: PLR0913 - each is one word of the request
    places: Places,
    reference: Reference,
    found: ResolvedDisk,
    target: Path,
    options: PullOptions,
    progress: Progress,
    *,
    run: Callable[[Store, ResolvedDisk, Path, PullOptions, Progress], Fetched] | None = None,
    to: Path | None = None,
    begun: float,
) -> PullResult:
    """Fetch a disk that was found; what is new appears at ``target`` in one step.

    Args:
        places: where it was found.
        reference: as it was asked for.
        found: the disk.
        target: as the result names it.
        options: how.
        progress: receives tasks and notes.
        run: writes it; None: to a file.
        to: where it is written; None: ``target``.
        begun: when the work began, on the monotonic clock.

    Raises:
        HauloutError: the target is as it was.
    """
    store = places.open(reference)
    fetched = (run or fetch.pull_disk)(store, found, to or target, options, progress)
    return fetch.PullResult(
        reference=reference,
        pinned=found.pinned,
        architecture=found.architecture,
        disk_type=found.disk_type,
        shape="container-disk" if found.container_disk else str(found.shape),
        manifest=found.digest,
        blob=oci.SizedDigest(fetched.layer.digest, fetched.layer.size),
        disk=fetched.disk,
        path=target,
        format=fetched.format,
        moved=fetched.moved,
        status=fetched.status,
        verified=fetched.verified,
        traffic=store.traffic,
        seconds=time.monotonic() - begun,
    )


def resolve_preferring(places: Places, reference: Reference, query: DiskQuery, disk_type: str) -> ResolvedDisk:
    """Find the disk of one type where there is one, else the usual one; a type that was asked for stays.

    Raises:
        HauloutError: as :meth:`haulout.places.Places.resolve`.
    """
    if query.disk_type is None:
        with suppress(NoMatchingDisk):
            preferred = places.resolve(reference, replace(query, disk_type=disk_type))
            if preferred.disk_type == disk_type:
                return preferred
    return places.resolve(reference, query)


def _target(found: ResolvedDisk, output: Path | None, as_format: DiskFormat | None) -> Path:
    if output is not None:
        with storage_errors(output, option="--output"):
            if not output.is_dir():
                return output
    from haulout.resolve import file_name  # noqa: PLC0415 - not needed to ask

    return (output or Path()) / file_name(found, as_format)
