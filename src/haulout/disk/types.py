"""What kinds of disks there are: file formats, and Podman's names for who boots them.

A *format* says how the bytes are laid out. A *disk type* is the value of the ``disktype`` annotation, Podman machine's
name for the hypervisor that takes the file. People may use either name; they are parsed to a :class:`DiskType` once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from haulout.errors import InvalidPlatform


class DiskFormat(StrEnum):
    """How the bytes of a disk file are laid out."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VHDX = "vhdx"
    VMDK = "vmdk"
    ISO = "iso"
    TAR = "tar"

    @property
    def disk_type(self) -> DiskType:
        """Return the disk type that publishes this format."""
        return _TYPE_OF[self]

    @property
    def extension(self) -> str:
        """Return the file name extension, without the dot."""
        return self.value


class DiskType(StrEnum):
    """Who boots a disk: the values of the ``disktype`` annotation.

    The first four are Podman machine's. It has none for VMware disks and optical images, so those carry their format's
    name.
    """

    QEMU = "qemu"
    APPLEHV = "applehv"
    HYPERV = "hyperv"
    WSL = "wsl"
    VMDK = "vmdk"
    ISO = "iso"

    @property
    def disk_format(self) -> DiskFormat:
        """Return the file format that this type stands for."""
        return _FORMAT_OF[self]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a disk type, or the name of its format, in any case.

        Raises:
            InvalidPlatform: no disk type and no format has this name.
        """
        folded = text.strip().lower()
        name = _ALIASES.get(folded, folded)
        try:
            return cls(name)
        except ValueError:
            raise InvalidPlatform("disk type", text, [*cls, *_ALIASES]) from None


_FORMAT_OF = {
    DiskType.QEMU: DiskFormat.QCOW2,
    DiskType.APPLEHV: DiskFormat.RAW,
    DiskType.HYPERV: DiskFormat.VHDX,
    DiskType.WSL: DiskFormat.TAR,
    DiskType.VMDK: DiskFormat.VMDK,
    DiskType.ISO: DiskFormat.ISO,
}
_TYPE_OF = {disk_format: disk_type for disk_type, disk_format in _FORMAT_OF.items()}
_ALIASES = {
    disk_format.value: disk_type.value
    for disk_type, disk_format in _FORMAT_OF.items()
    if disk_format.value != disk_type.value
}
