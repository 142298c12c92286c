"""What ``haulout inspect FILE`` shows: a disk image's format, size, partitions and dangers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from haulout.cli.terminal import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.disk import DiskInfo, FileSystem, Partition


def document(info: DiskInfo) -> dict[str, Any]:
    """Return the JSON of a file."""
    return {
        "kind": "file",
        "path": info.path,
        "safe": info.safe,
        "format": str(info.format),
        "content": info.content,
        "disk_type": str(info.disk_type),
        "file_size": info.file_size,
        "virtual_size": info.virtual_size,
        "allocated": info.allocated,
        "compressed": info.compressed,
        "file_system": None if info.file_system is None else _file_system(info.file_system),
        "partitions": [_partition(partition) for partition in info.partitions],
        "details": dict(info.details),
        "dangers": [{"rule": danger.rule, "reason": danger.reason, "hint": danger.hint} for danger in info.dangers],
    }


def lines(info: DiskInfo) -> Iterator[str]:
    """Write a file for people."""
    what = info.content if info.content == info.format else f"{info.format} ({info.content})"
    packed = ", compressed inside" if info.compressed else ""
    yield f"{info.path}: {what}, published as {info.disk_type}"
    yield f"  disk      {size(info.virtual_size)}{packed}"
    yield f"  file      {size(info.file_size)}, of which {size(info.allocated)} stored"
    if info.file_system is not None:
        yield f"  content   {_spelled(info.file_system)}"
    for partition in info.partitions:
        name = f" {partition.name!r}" if partition.name else ""
        inside = f": {_spelled(partition.file_system)}" if partition.file_system else ""
        yield (
            f"  part {partition.number:<4} {size(partition.size)} at {size(partition.start)}, "
            f"{partition.kind}{name}{inside}"
        )
    for name, value in info.details.items():
        yield f"  {name.replace('_', ' ')}: {_plain(value)}"
    for danger in info.dangers:
        yield f"  DANGER    {danger.reason} [{danger.rule}]"
        if danger.hint:
            yield f"            hint: {danger.hint}"
    if info.safe:
        yield "  no dangers found"


def _plain(value: str | int | bool) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _spelled(found: FileSystem) -> str:
    label = f" {found.label!r}" if found.label else ""
    return f"{found.name}{label}{'' if found.size is None else f', {size(found.size)}'}"


def _file_system(found: FileSystem) -> dict[str, Any]:
    return {"name": found.name, "label": found.label, "size": found.size}


def _partition(partition: Partition) -> dict[str, Any]:
    return {
        "number": partition.number,
        "start": partition.start,
        "size": partition.size,
        "kind": partition.kind,
        "name": partition.name,
        "file_system": None if partition.file_system is None else _file_system(partition.file_system),
    }
