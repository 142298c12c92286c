"""What ``haulout inspect FILE`` shows: a disk image's format, size, partitions and dangers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.cli.terminal import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.disk import DiskInfo, FileSystem


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
