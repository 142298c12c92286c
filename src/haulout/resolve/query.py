"""What is asked for: one disk of an architecture and a disk type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.disk import DiskFormat, DiskType

if TYPE_CHECKING:
    from haulout.oci import Architecture

DEFAULT_TYPE: Final = DiskType.QEMU.value
"""What is preferred where no type is asked for: Linux boots it."""

CONTAINER_DISK: Final = "container-disk"
"""The ``disktype`` of a container image that holds a disk under ``/disk/``, beside disks in one index (ADR 0041)."""

_SAME: Final = {name.value: name.disk_type.value for name in DiskFormat} | {"libkrun": DiskType.APPLEHV.value}
"""Values of ``disktype`` that mean one of Podman's: Ironic publishes ``qcow2`` and ``raw``, people ask by format."""


def canonical_type(text: str) -> str:
    """Return Podman's name for a disk type; one that is not known is returned as it is, in lower case."""
    folded = text.strip().lower()
    return _SAME.get(folded, folded)


@dataclass(frozen=True, slots=True)
class DiskQuery:
    """Which disk is wanted. ``None`` takes what there is, where there is only one."""

    architecture: Architecture | None = None
    """None: whichever, if all disks are of one architecture."""
    disk_type: str | None = None
    """Podman's name or an alias; None: ``qemu`` if there is one, else the only type there is."""
    title: str | None = None
    """The exact title of the layer, for artifacts that hold several files."""

    def takes_architecture(self, architecture: Architecture | None) -> bool:
        """Whether a disk of this architecture fits; one without a stated architecture may."""
        return self.architecture is None or architecture is None or architecture == self.architecture

    def takes_type(self, disk_type: str | None) -> bool:
        """Whether a disk of this type fits; one without a stated type may."""
        return self.disk_type is None or disk_type is None or canonical_type(self.disk_type) == disk_type

    def __str__(self) -> str:
        kind = canonical_type(self.disk_type or DEFAULT_TYPE)
        return f"{self.architecture}/{kind}" if self.architecture else kind
