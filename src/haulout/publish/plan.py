"""Which disks a push publishes: planned from what inspection says about the files (pure), then converted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout.disk import DiskFormat, convert, convertible_formats, inspect, require_safe, uncompress
from haulout.errors import UnsafeDiskError, UsageError
from haulout.local import large_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from haulout.disk import DiskInfo, DiskType
    from haulout.oci import Architecture
    from haulout.progress import Progress

_SECTOR: Final = 512


@dataclass(frozen=True, slots=True)
class InspectedDisk:
    """A disk file that is safe to publish."""

    path: Path
    architecture: Architecture
    disk_type: DiskType
    info: DiskInfo


@dataclass(frozen=True, slots=True)
class PlannedDisk:
    """A disk to publish."""

    source: Path
    source_format: DiskFormat
    architecture: Architecture
    disk_type: DiskType
    name: str = ""
    """What people call the source."""
    is_made: bool = False
    """Whether it is made from the source: in another format, or without the compression inside."""


def inspect_disk(
    path: Path,
    architecture: Architecture,
    disk_type: DiskType | None,
    *,
    name: str | None = None,
    force: bool = False,
) -> InspectedDisk:
    """Inspect a file.

    Args:
        path: the file.
        architecture: whose disk it is.
        disk_type: which hypervisor's; None: what the file says.
        name: what people call it; None: its path.
        force: publish what nothing shows to be a disk.

    Raises:
        UnsafeDiskError: it must not be published, or is of another format than its type.
        HauloutError: it cannot be read.
    """
    found = inspect(path, name=name)
    if disk_type is not None and found.format is not disk_type.disk_format and found.safe:
        converted = f"leave {disk_type} out, and convert it: --also {disk_type}"
        convertible = {found.format, disk_type.disk_format} <= {*convertible_formats()}
        raise UnsafeDiskError(
            found.path,
            "format",
            f"it was announced as {disk_type.disk_format}, but it is {found.format}",
            hint=converted if convertible else f"name it {found.format}",
        )
    info = require_safe(found)
    if info.format is DiskFormat.RAW and not force:
        _require_disk(info)
    return InspectedDisk(path, architecture, disk_type or info.disk_type, info)


def _require_disk(info: DiskInfo) -> None:
    """Refuse bytes that nothing could boot from or mount: any file at all is a raw disk otherwise."""
    if info.content == "unrecognised":
        raise UnsafeDiskError(
            info.path,
            "unrecognised",
            "it has no partition table, file system or boot sector that is known",
            hint="if it is a disk all the same, push it with --force",
        )
    if info.file_size % _SECTOR:
        raise UnsafeDiskError(
            info.path,
            "sectors",
            f"its {info.file_size} bytes are not whole sectors of {_SECTOR} bytes",
            hint="is the file complete? If it is, push it with --force",
        )


def plan_disks(inspected: Sequence[InspectedDisk], also: Sequence[DiskType]) -> list[PlannedDisk]:
    """Return each disk, followed by those to make from it.

    Args:
        inspected: the files given.
        also: further disk types to make from each.

    Raises:
        UsageError: there is none, or two would be the same entry of the tag.
    """
    if not inspected:
        raise UsageError("no disk to push", hint="name at least one disk image")
    planned: list[PlannedDisk] = []
    for disk in inspected:
        first = PlannedDisk(
            disk.path, disk.info.format, disk.architecture, disk.disk_type, disk.info.path, disk.info.compressed
        )
        others = (each for each in dict.fromkeys(also) if each is not disk.disk_type)
        planned += (first, *(replace(first, disk_type=each, is_made=True) for each in others))
    seen: set[tuple[Architecture, DiskType]] = set()
    for each in planned:
        if (each.architecture, each.disk_type) in seen:
            raise UsageError(
                f"two disks for {each.architecture}/{each.disk_type}; a tag holds one",
                hint="give each its own with --disk ARCH/TYPE=FILE",
            )
        seen.add((each.architecture, each.disk_type))
    return planned


def prepare(disk: PlannedDisk, stack: ExitStack, progress: Progress) -> Path:
    """Return the file to publish: the source itself, or one that ``stack`` removes.

    Raises:
        HauloutError: it cannot be converted.
    """
    if not disk.is_made:
        return disk.source
    target_format = disk.disk_type.disk_format
    made = large_folder(stack) / f"disk.{target_format.extension}"
    if target_format is disk.source_format:
        progress.note(f"{disk.name} is compressed internally; publishing an uncompressed copy keeps updates small")
        uncompress(disk.source, made, progress=progress)
    else:
        convert(disk.source, disk.source_format, made, target_format, progress=progress)
    return made
