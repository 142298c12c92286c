"""Disk images: what a file is, whether it is safe, sparse I/O, and conversion.

:func:`inspect` runs before any other program opens a file that came from elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.disk.convert import convert, uncompress
    from haulout.disk.formats import convertible_formats
    from haulout.disk.image import Source
    from haulout.disk.info import Danger, DiskInfo, FileSystem, Partition
    from haulout.disk.inspection import inspect, require_safe
    from haulout.disk.overlay import create_overlay, has_efi_partition
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
    "content_bytes",
    "convert",
    "convertible_formats",
    "create_overlay",
    "data_extents",
    "early_writeback",
    "has_efi_partition",
    "inspect",
    "is_zero",
    "punch_hole",
    "require_safe",
    "uncompress",
    "write_all",
    "write_sparse",
]

open_face(
    __name__,
    {
        "convert": ("convert", "uncompress"),
        "formats": ("convertible_formats",),
        "image": ("Source",),
        "info": ("Danger", "DiskInfo", "FileSystem", "Partition"),
        "inspection": ("inspect", "require_safe"),
        "overlay": ("create_overlay", "has_efi_partition"),
        "sparse": ("BLOCK", "Extent", "data_extents", "is_zero", "punch_hole"),
        "types": ("DiskFormat", "DiskType"),
        "writing": ("content_bytes", "early_writeback", "write_all", "write_sparse"),
    },
)
