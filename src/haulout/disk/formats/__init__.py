"""The disk formats: one module each, and the table of them. A new format is a module, a row here and a name in types.

The order is that of probing. Raw comes last: every file is a raw disk where nothing else claims it.
"""

from __future__ import annotations

from typing import Final

from haulout.disk.formats import iso, qcow2, raw, tar, vhdx, vmdk
from haulout.disk.types import DiskFormat

FORMATS: Final = {row.name: row for row in (qcow2.FORMAT, vhdx.FORMAT, vmdk.FORMAT, iso.FORMAT, tar.FORMAT, raw.FORMAT)}


def convertible_formats() -> tuple[DiskFormat, ...]:
    """Return the formats that can be converted into each other."""
    return tuple(name for name in DiskFormat if FORMATS[name].qemu_options is not None)
