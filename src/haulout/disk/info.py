"""What inspection finds out about a file: values only, no reading."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from haulout.documents import Document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from haulout.disk.types import DiskFormat, DiskType

Detail: TypeAlias = str | int | bool


@dataclass(frozen=True, slots=True)
class Danger:
    """One reason not to use a file.

    Attributes:
        rule: stable short name, such as ``backing-file``.
        reason: one line for people, fitting after "refusing FILE: ".
        hint: the way out, if there is one.
    """

    rule: str
    reason: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system, or another thing that fills a partition, such as LUKS.

    Attributes:
        name: such as ``ext4``.
        label: the volume's name, "" if it has none.
        size: bytes it claims to cover; None where its header does not say.
    """

    name: str
    label: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of a raw disk; offsets and sizes in bytes."""

    number: int
    start: int
    size: int
    kind: str
    name: str = ""
    file_system: FileSystem | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one format's probe says about a file it recognises.

    Attributes:
        name: what was recognised, such as ``qcow2`` or ``gzip``.
        format: the disk format; None for what is recognised only to be refused.
        virtual_size: bytes the guest sees; 0 where damage hides it.
    """

    name: str
    format: DiskFormat | None
    virtual_size: int = 0
    compressed: bool = False
    partitions: tuple[Partition, ...] = ()
    file_system: FileSystem | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)
    dangers: tuple[Danger, ...] = ()


@dataclass(frozen=True, slots=True)
class DiskInfo(Document):
    """What a file is, as far as its headers show.

    Attributes:
        path: the file's name, as it was given.
        format: how the file would be handled. Something that is not a disk at all counts as raw, and carries a danger.
        content: what was recognised, such as ``qcow2``, ``gpt``, ``ext4``, ``gzip`` or ``unrecognised``.
        file_size: length of the file in bytes.
        virtual_size: length of the disk that the guest sees, in bytes; 0 where damage hides it.
        allocated: bytes the file takes on its file system (less than ``file_size`` for a sparse file).
        compressed: whether the disk's data is compressed inside the format; zstd on top would gain nothing.
        partitions: the partitions of a raw disk.
        file_system: the file system of an unpartitioned raw disk.
        details: more for people, by name.
        dangers: why the file must not be used; empty for a good one.
    """

    json_members: ClassVar = (
        *("kind", "path", "safe", "format", "content", "disk_type", "file_size", "virtual_size", "allocated"),
        *("compressed", "file_system", "partitions", "details", "dangers"),
    )
    kind: ClassVar = "file"

    path: str
    format: DiskFormat
    content: str
    file_size: int
    virtual_size: int
    allocated: int
    compressed: bool = False
    partitions: tuple[Partition, ...] = ()
    file_system: FileSystem | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)
    dangers: tuple[Danger, ...] = ()

    @property
    def disk_type(self) -> DiskType:
        """Return the disk type under which this file is published."""
        return self.format.disk_type

    @property
    def safe(self) -> bool:
        """Return whether inspection found nothing to refuse."""
        return not self.dangers


class Damaged(Exception):  # noqa: N818  (it names a state of the file, and never leaves this room)
    """A file carries a format's magic but breaks its rules so far that reading further is pointless."""

    def __init__(self, reason: str, *, rule: str = "damaged", hint: str | None = None) -> None:
        super().__init__(reason)
        self.danger = Danger(rule, reason, hint)
