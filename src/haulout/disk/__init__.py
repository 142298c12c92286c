"""Disk images: what a file is, whether it is safe, sparse I/O, and conversion.

:func:`inspect` runs before any other program opens a file that came from elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.disk.convert import convert, uncompress_qcow2
    from haulout.disk.image import Source, descriptor_name
    from haulout.disk.info import Danger, DiskInfo, FileSystem, Partition
    from haulout.disk.inspection import inspect, require_safe
    from haulout.disk.sharing import clone_range, snapshot
    from haulout.disk.sparse import BLOCK, Extent, data_extents, is_zero, punch_hole
    from haulout.disk.types import DiskFormat, DiskType
    from haulout.disk.writing import content_bytes, early_writeback, write_all, write_sparse

__all__ = [
    "BLOCK",
    "Danger",
    "DiskFormat",
    "DiskInfo",
    "DiskType",
    "Extent",
    "FileSystem",
    "Partition",
    "Source",
    "clone_range",
    "content_bytes",
    "convert",
    "data_extents",
    "descriptor_name",
    "early_writeback",
    "inspect",
    "is_zero",
    "punch_hole",
    "require_safe",
    "snapshot",
    "uncompress_qcow2",
    "write_all",
    "write_sparse",
]

open_face(
    __name__,
    {
        "convert": ("convert", "uncompress_qcow2"),
        "image": ("Source", "descriptor_name"),
        "info": ("Danger", "DiskInfo", "FileSystem", "Partition"),
        "inspection": ("inspect", "require_safe"),
        "sharing": ("clone_range", "snapshot"),
        "sparse": ("BLOCK", "Extent", "data_extents", "is_zero", "punch_hole"),
        "types": ("DiskFormat", "DiskType"),
        "writing": ("content_bytes", "early_writeback", "write_all", "write_sparse"),
    },
)
