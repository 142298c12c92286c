"""What kinds of disks there are: file formats, and Podman's names for the hypervisors that boot them.

A *format* says how the bytes are laid out. A *disk type* is the value of the ``disktype`` annotation, Podman machine's
name for the hypervisor that takes the file. People may use either name; they are parsed to a :class:`DiskType` once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Self

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
        """The disk type that publishes this format."""
        return _TYPE_OF[self]

    @property
    def extension(self) -> str:
        """The file name extension, without the dot."""
        return self.value


class DiskType(StrEnum):
    """Which hypervisor boots a disk: the values of the ``disktype`` annotation.

    The first four are Podman machine's. It has none for the other formats, so those carry their format's name.
    """

    QEMU = "qemu"
    APPLEHV = "applehv"
    HYPERV = "hyperv"
    WSL = "wsl"
    VMDK = "vmdk"
    ISO = "iso"

    @property
    def disk_format(self) -> DiskFormat:
        """The file format that this type stands for."""
        return _FORMAT_OF.get(self) or DiskFormat(self.value)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a disk type, or the name of its format, in any case.

        Raises:
            InvalidPlatform: no disk type and no format has this name.
        """
        folded = text.strip().lower()
        for member in cls:
            if folded in {member.value, member.disk_format.value}:
                return member
        formats = [one for member in cls if (one := member.disk_format.value) != member.value]
        raise InvalidPlatform("disk type", text, [*cls, *formats])


_FORMAT_OF: Final = {
    DiskType.QEMU: DiskFormat.QCOW2,
    DiskType.APPLEHV: DiskFormat.RAW,
    DiskType.HYPERV: DiskFormat.VHDX,
    DiskType.WSL: DiskFormat.TAR,
}
_TYPE_OF: Final = {disk_type.disk_format: disk_type for disk_type in DiskType}

DISK_EXTENSIONS: Final = frozenset({*(name.extension for name in DiskFormat), "img", "qcow", "vdi", "vhd"} - {"tar"})
"""How the names of disk files end; ``tar`` is the name of any archive."""
