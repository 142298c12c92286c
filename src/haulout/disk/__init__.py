"""Disk images: what a file is, whether it is safe, sparse I/O, and conversion.

:func:`inspect` runs before any other program opens a file that came from elsewhere.
"""

from haulout.disk.image import Source
from haulout.disk.info import Danger, DiskInfo, FileSystem, Partition
from haulout.disk.inspection import inspect, require_safe
from haulout.disk.types import DiskFormat, DiskType

__all__ = [
    "Danger",
    "DiskFormat",
    "DiskInfo",
    "DiskType",
    "FileSystem",
    "Partition",
    "Source",
    "inspect",
    "require_safe",
]
