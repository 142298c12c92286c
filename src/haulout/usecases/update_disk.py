"""Update-disk: from a disk that somebody else's virtual machine has to the next version of it, beside it."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from haulout import disk as disks
from haulout import fetch
from haulout.documents import Document
from haulout.errors import HauloutError, StorageError, ToolError, UsageError
from haulout.frames import hash_file, holds
from haulout.local import open_regular, storage_errors
from haulout.oci import Architecture, Digest
from haulout.places import Places
from haulout.progress import NullProgress
from haulout.resolve import DiskQuery, load_toc
from haulout.usecases.arguments import architecture_of, format_of, path_of, reference_of, wanted_type_of
from haulout.usecases.disk_hook import DiskHook
from haulout.usecases.pull import fetch_found, resolve_preferring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.disk import DiskFormat, DiskInfo, DiskType
    from haulout.fetch import Moved, PullResult
    from haulout.oci import Reference, SizedDigest
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.resolve import ResolvedDisk

_JOBS: Final = 4


@dataclass(frozen=True, slots=True)
class OldDisk(Document):
    """The disk that is to be followed by a newer one."""

    json_members: ClassVar = ("path", "format", "virtual_size", "made_from")

    path: Path
    format: DiskFormat
    virtual_size: int
    """Bytes that its guest sees."""
    made_from: Digest | None
    """Of the manifest or the plain disk it was pulled as; None where it was written to since, and nobody said."""


@dataclass(frozen=True, slots=True)
class UpdateDiskResult(Document):
    """What an update of a disk did, or, after ``dry_run``, would do."""

    json_members: ClassVar = (
        *("status", "old", "reference", "pinned", "manifest", "disk", "path", "format", "moved", "needed", "free"),
        *("seconds",),
    )

    status: Literal["staged", "present", "unchanged", "planned"]
    """``present``: the new disk was there already; ``unchanged``: the old one is that version, nothing was written."""
    old: OldDisk
    reference: Reference
    pinned: Reference
    manifest: Digest
    disk: SizedDigest | None
    """The plain disk as its publisher states it."""
    path: Path
    """The new disk; it is not there where nothing was written."""
    format: str
    pull: PullResult | None
    """None where nothing was to do."""
    needed: int | None
    """Bytes that the new disk takes at most; None where nothing was to do, or its publisher does not say."""
    free: int
    """Bytes that are free where it goes, once this has ended."""
    seconds: float

    @property
    def moved(self) -> Moved | None:
        """Where its bytes came from."""
        return None if self.pull is None else self.pull.moved


def update_disk(  # noqa: PLR0913 - each is one word of the request
    old: str | os.PathLike[str],
    reference: str | Reference,
    output: str | os.PathLike[str],
    *,
    architecture: str | Architecture | None = None,
    disk_type: str | DiskType | None = None,
    as_format: str | DiskFormat | None = None,
    current: str | Digest | None = None,
    use_deltas: bool = True,
    hook: str | None = None,
    hook_seconds: float = 900.0,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> UpdateDiskResult:
    """Make the disk that ``reference`` names, whole and verified, out of an older one and of what is fetched.

    The old disk is only read, and may be in use. The new one appears at ``output`` in one step. Whether there is
    anything to do is known where the old disk is as a pull left it, or where ``current`` says what it was made from.

    Args:
        old: the disk a virtual machine has now, in any format.
        reference: where the new one is.
        output: where it goes; nothing may be there yet, but this very disk. In a folder, it is named by its digest.
        architecture: of the disk; None for this machine's.
        disk_type: which hypervisor's; None for the one whose format the new disk gets, if there is one.
        as_format: of the new disk; None: that of the old one.
        current: digest of the manifest or the plain disk that the old one was made from; None or empty: not known.
        use_deltas: use a published delta where that is the cheapest way.
        hook: a program that is asked before anything is fetched, told that the new disk is ready, and told of a failure
            after the first (docs/update-disk.md).
        hook_seconds: time it has for each.
        dry_run: find out what would be fetched and reused, and stop there; the hook is not run.
        connections: how registries are reached.
        progress: receives tasks and notes, from several threads.
        jobs: parallel connections.

    Raises:
        HookFailed: the hook said no; there is no new disk, unless it was there before.
        StorageError: something else is at ``output``.
        HauloutError: see the tree in :mod:`haulout.errors`; there is no new disk then.
    """
    begun = time.monotonic()
    progress = progress or NullProgress()
    reference, source, target = reference_of(reference), path_of(old), path_of(output)
    info = disks.inspect(source)
    wanted = info.format if as_format is None else format_of(as_format)
    query = DiskQuery(
        Architecture.here() if architecture is None else architecture_of(architecture),
        None if disk_type is None else wanted_type_of(disk_type),
    )
    with Places(connections, progress) as places:
        found = _resolved(places, reference, query, wanted)
        target = target / f"{found.digest.short}.{wanted}" if target.is_dir() else target
        made_from = _origin(source, info, places, found, current, progress, jobs or _JOBS)
        before = OldDisk(source, info.format, info.virtual_size, made_from)

        def result(
            status: Literal["staged", "present", "unchanged", "planned"], pulled: PullResult | None = None
        ) -> UpdateDiskResult:
            return UpdateDiskResult(
                status=status,
                old=before,
                reference=reference,
                pinned=found.pinned,
                manifest=found.digest,
                disk=found.disk,
                path=target,
                format=str(wanted),
                pull=pulled,
                needed=_needed(pulled),
                free=_free(target),
                seconds=time.monotonic() - begun,
            )

        same = made_from in {found.digest, found.disk and found.disk.digest}
        if made_from is not None and same and wanted == info.format:
            return result("unchanged")
        _require_other(source, target)
        options = fetch.PullOptions(as_format=wanted, seeds=(source,), use_deltas=use_deltas, dry_run=True)
        options = replace(options, jobs=jobs) if jobs else options
        was_there = os.path.lexists(target)
        if dry_run or was_there:
            planned = fetch_found(places, reference, found, target, options, progress, begun=begun)
            _require_free(target, planned)
            if dry_run:
                return result("present" if was_there else "planned", planned)
        asked = None if hook is None else DiskHook(hook, hook_seconds)
        with _told(asked, _facts(before, found, target, wanted), target, progress) as came:
            pulled = fetch_found(
                places, reference, found, target, replace(options, dry_run=False), progress, begun=begun
            )
            came.append(pulled)
        if pulled.status == "pulled" and (size := disks.inspect(target).virtual_size) < info.virtual_size:
            progress.note(
                f"the old disk has {info.virtual_size} bytes, the new one {size}; if it was grown, grow the new one: "
                f"qemu-img resize -f {wanted} {target.name} {info.virtual_size}"
            )
        return result("present" if pulled.status == "present" else "staged", pulled)


def _require_other(source: Path, target: Path) -> None:
    with storage_errors(target, option="--output"):
        if target.exists() and source.samefile(target):
            raise UsageError(f"{target} is the old disk", hint="name another file with --output")


def _require_free(target: Path, planned: PullResult) -> None:
    if planned.status != "present" and os.path.lexists(target):
        raise StorageError(
            str(target), "is there already, and is not this disk",
            hint="it may be in use: choose another --output, or remove it",
        )  # fmt: skip


@contextmanager
def _told(
    hook: DiskHook | None, facts: dict[str, str | None], target: Path, progress: Progress
) -> Iterator[list[PullResult]]:
    """Ask the hook, and tell it how the block ended, which adds what it pulled; that does not stay after a failure."""
    came: list[PullResult] = []
    if hook is not None:
        hook.call("prepare", facts)
    try:
        yield came
        if hook is not None:
            hook.call("ready", facts)
    except BaseException as error:
        if hook is not None:
            reason = str(error) if isinstance(error, HauloutError) else type(error).__name__
            try:
                hook.call("failed", {**facts, "reason": reason})
            except ToolError as again:
                # The first reason counts.
                progress.note(str(again))
        # Another run may have made it meanwhile, for a machine that uses it by now.
        if any(each.status == "pulled" for each in came):
            target.unlink(missing_ok=True)
        raise


def _resolved(places: Places, reference: Reference, query: DiskQuery, wanted: DiskFormat) -> ResolvedDisk:
    if wanted in disks.convertible_formats():
        return resolve_preferring(places, reference, query, wanted.disk_type)
    return places.resolve(reference, replace(query, disk_type=query.disk_type or wanted.disk_type))


def _origin(
    source: Path,
    info: DiskInfo,
    places: Places,
    found: ResolvedDisk,
    current: str | Digest | None,
    progress: Progress,
    jobs: int,
) -> Digest | None:
    """Return what the old disk was made from, if it is known for sure."""
    if current:
        return current if isinstance(current, Digest) else Digest.parse(current.rpartition("@")[2])
    # A link that is moved from one disk to the next is a good way to name the present one.
    for known in (fetch.origin_of(source), fetch.origin_of(source.resolve())):
        if known is not None:
            return known
    stated = found.disk
    if stated is None or stated.size != info.file_size:
        return None
    toc = load_toc(places.open(found.reference), found, NullProgress())
    size = stated.size if toc is None else toc.data_bytes
    with (
        open_regular(source) as fd,
        storage_errors(source),
        progress.task(f"comparing {source.name}", size) as task,
    ):
        # With a table of contents, the first difference ends it.
        same = hash_file(fd, task) == stated if toc is None else holds(fd, toc, jobs, task)
    return stated.digest if same else None


def _facts(old: OldDisk, found: ResolvedDisk, target: Path, wanted: DiskFormat) -> dict[str, str | None]:
    return {
        "old": str(old.path.resolve()),
        "new": str(target.resolve()),
        "format": str(wanted),
        "reference": str(found.reference),
        "pinned": str(found.pinned),
        "manifest": str(found.digest),
        "made_from": None if old.made_from is None else str(old.made_from),
    }


def _needed(pulled: PullResult | None) -> int | None:
    if pulled is None or pulled.disk is None:
        return None
    return pulled.disk.size - pulled.moved.zero


def _free(target: Path) -> int:
    with storage_errors(target.parent, option="--output"):
        room = os.statvfs(target.parent)
    return room.f_bavail * room.f_frsize
