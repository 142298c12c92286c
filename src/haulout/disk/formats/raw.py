"""Raw disks: the bytes themselves. Recognised by a partition table or a file system, and by nothing else.

Every file is a raw disk; a file is *only* that when no other format claims it, which :mod:`haulout.disk.inspection`
decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.disk.filesystems import recognise
from haulout.disk.format import Format
from haulout.disk.info import Damaged, Danger, Finding
from haulout.disk.partitions import read_table
from haulout.disk.types import DiskFormat

if TYPE_CHECKING:
    from haulout.disk.image import Image
    from haulout.disk.info import Detail


def probe(image: Image) -> Finding | None:
    """Recognise what a raw disk holds; None where its content is unknown."""
    try:
        table = read_table(image)
    except Damaged as damage:
        return Finding("partition table", DiskFormat.RAW, image.size, dangers=(damage.danger,))
    if table is not None:
        details: dict[str, Detail] = {"partition table": table.kind}
        if table.notes:
            details["remarks"] = "; ".join(table.notes)
        return Finding(
            table.kind,
            DiskFormat.RAW,
            image.size,
            partitions=table.partitions,
            details=details,
            dangers=table.dangers,
        )
    system = recognise(image, 0, image.size)
    # These two are formats of their own when they fill the whole file.
    if system is None or system.name in {"LUKS", "iso9660"}:
        return None
    dangers: tuple[Danger, ...] = ()
    if system.size is not None and system.size > image.size:
        reason = f"its {system.name} file system claims {system.size} bytes, the file has {image.size}"
        dangers = (Danger("truncated", reason, "is the file complete?"),)
    return Finding(system.name, DiskFormat.RAW, image.size, file_system=system, dangers=dangers)


FORMAT: Final = Format(
    DiskFormat.RAW,
    probe,
    "raw",
    qemu_options="preallocation=off",
)
