"""Disk images: what a file is, whether it is safe, sparse I/O, and conversion.

:func:`inspect` runs before any other program opens a file that came from elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.disk.convert import convert, uncompress
    from haulout.disk.foreign import EXPANDED
    from haulout.disk.formats import convertible_formats
    from haulout.disk.formats.qcow2 import start_of_disk
    from haulout.disk.image import Image, Source
    from haulout.disk.info import Danger, DiskInfo, FileSystem, Partition
    from haulout.disk.inspection import inspect, inspect_image, require_safe
    from haulout.disk.overlay import (
        commit_overlay,
        create_overlay,
        grow_overlay,
        has_efi_partition,
        overlay_size,
    )
    from haulout.disk.sparse import BLOCK, Extent, data_extents, is_zero, punch_hole, size_of
    from haulout.disk.types import DISK_EXTENSIONS, DiskFormat, DiskType
    from haulout.disk.vhd import expand_vhd
    from haulout.disk.writing import SparseWriter, content_bytes, early_writeback, write_all, write_sparse

__all__ = [
    "BLOCK",
    "DISK_EXTENSIONS",
    "EXPANDED",
    "Danger",
    "DiskFormat",
    "DiskInfo",
    "DiskType",
    "Extent",
    "FileSystem",
    "Image",
    "Partition",
    "Source",
    "SparseWriter",
    "commit_overlay",
    "content_bytes",
    "convert",
    "convertible_formats",
    "create_overlay",
    "data_extents",
    "early_writeback",
    "expand_vhd",
    "grow_overlay",
    "has_efi_partition",
    "inspect",
    "inspect_image",
    "is_zero",
    "overlay_size",
    "punch_hole",
    "require_safe",
    "size_of",
    "start_of_disk",
    "uncompress",
    "write_all",
    "write_sparse",
]

open_face(
    __name__,
    {
        "convert": ("convert", "uncompress"),
        "foreign": ("EXPANDED",),
        "formats": ("convertible_formats",),
        "formats.qcow2": ("start_of_disk",),
        "image": ("Image", "Source"),
        "info": ("Danger", "DiskInfo", "FileSystem", "Partition"),
        "inspection": ("inspect", "inspect_image", "require_safe"),
        "overlay": ("commit_overlay", "create_overlay", "grow_overlay", "has_efi_partition", "overlay_size"),
        "sparse": ("BLOCK", "Extent", "data_extents", "is_zero", "punch_hole", "size_of"),
        "types": ("DISK_EXTENSIONS", "DiskFormat", "DiskType"),
        "vhd": ("expand_vhd",),
        "writing": ("SparseWriter", "content_bytes", "early_writeback", "write_all", "write_sparse"),
    },
)
