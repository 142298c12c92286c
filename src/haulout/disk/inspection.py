"""Find out what a file is, and whether it may be used, before any other program opens it.

All probes look at every file. A file that two formats claim is refused, because the next program may take it
for the other one; only an ISO that is also bootable from a stick (a partition table in its first sectors) is common and
harmless. No probe follows a name inside the file, and reads are bounded, so that a hostile file costs little.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from haulout.disk import foreign
from haulout.disk.formats import FORMATS
from haulout.disk.image import opened
from haulout.disk.info import Damaged, Danger, DiskInfo, Finding
from haulout.disk.types import DiskFormat
from haulout.errors import UnsafeDiskError

if TYPE_CHECKING:
    from collections.abc import Collection

    from haulout.disk.image import Image, Source


def inspect(
    source: Source,
    *,
    name: str | None = None,
    follow_symlinks: bool = True,
    allow_device: bool = False,
    size: int | None = None,
) -> DiskInfo:
    """Find out what a file is. Dangers are reported in the result, not raised: see :func:`require_safe`.

    Args:
        source: a path, or an open file descriptor, which stays open and keeps its position.
        name: what to call the file, where ``source`` is a descriptor.
        follow_symlinks: whether a symbolic link as the last component is followed.
        allow_device: whether a block device may be inspected like a file.
        size: bytes that are inspected; None: all there are.

    Raises:
        NotFoundError: there is no such file.
        UnsafeDiskError: rule ``not-a-regular-file``: a directory, pipe, socket, device or (if so asked) symbolic link.
        StorageError: the file cannot be opened or read.
    """
    with opened(source, name=name, follow_symlinks=follow_symlinks, allow_device=allow_device, size=size) as image:
        return inspect_image(image)


def inspect_image(image: Image) -> DiskInfo:
    """Find out what an opened file is; as :func:`inspect`."""
    known = {row.content for row in FORMATS.values()}
    findings = [finding for finding in foreign.probe(image) if finding.name not in known]
    for row in FORMATS.values():
        try:
            finding = row.probe(image)
        except Damaged as damage:
            finding = Finding(row.content, row.name, dangers=(damage.danger,))
        if finding is not None:
            findings.append(finding)
    findings = [finding for finding in findings if len(findings) == 1 or not _of_the_guest(finding)]
    if not findings:
        # Boot code without a partition table; too little to tell such a file from those of other formats.
        boots = image.read(510, 2) == b"\x55\xaa"
        findings.append(Finding("boot sector" if boots else "unrecognised", DiskFormat.RAW, image.size))
    dangers = [danger for finding in findings for danger in finding.dangers]
    if image.size == 0:
        dangers.append(Danger("empty", "it is empty"))
    main = findings[0]
    if [finding.format for finding in findings] == [DiskFormat.ISO, DiskFormat.RAW] and not findings[1].file_system:
        main, dangers = _hybrid(*findings)
    elif _only_vhd(findings):
        dangers = list(main.dangers)
    elif len(findings) > 1:
        names = " and ".join(finding.name for finding in findings)
        dangers.append(Danger("polyglot", f"it is {names} at once; programs would disagree on what it holds"))
    elif main.format is not None and main.virtual_size == 0 and not dangers:
        dangers.append(Danger("empty", "it holds a disk of zero bytes"))
    return DiskInfo(
        path=image.path,
        format=main.format or DiskFormat.RAW,
        content=main.name,
        file_size=image.size,
        virtual_size=main.virtual_size,
        allocated=image.allocated,
        compressed=main.compressed,
        partitions=main.partitions,
        file_system=main.file_system,
        details=dict(main.details),
        dangers=tuple(dict.fromkeys(dangers)),
    )


def _of_the_guest(finding: Finding) -> bool:
    """Return whether a file system larger than the file, behind its first 64 KiB, is that of the disk in the file."""
    return finding.name == "btrfs" and any(danger.rule == "truncated" for danger in finding.dangers)


def _hybrid(disc: Finding, stick: Finding) -> tuple[Finding, list[Danger]]:
    """Join the two faces of an ISO that is also bootable from a stick.

    Only the disc's dangers count: tools that make hybrids let the stick's table end a little past the file.
    """
    details = {**disc.details, **stick.details, "hybrid": stick.name}
    return replace(disc, partitions=stick.partitions, details=details), list(disc.dangers)


def _only_vhd(findings: list[Finding]) -> bool:
    """Return whether a file is a fixed VHD of a disk: a raw disk with a footer behind it."""
    return len(findings) == 2 and findings[0].name == "vhd" and findings[1].format is DiskFormat.RAW


def require_safe(
    source: DiskInfo | Source,
    expected: DiskFormat | None = None,
    max_virtual_size: int | None = None,
    *,
    allow: Collection[str] = (),
) -> DiskInfo:
    """Return what a file is, or refuse it.

    Args:
        source: a file, or what :func:`inspect` said about one.
        expected: the format the file was announced as; None accepts any.
        max_virtual_size: most bytes the guest may see; a header of a few KiB may claim terabytes.
        allow: names of rules that may be broken, where the caller knows better.

    Raises:
        UnsafeDiskError: with the first broken rule; ``format`` and ``virtual-size`` are those of the arguments.
        NotFoundError: there is no such file.
        StorageError: the file cannot be opened or read.
    """
    info = source if isinstance(source, DiskInfo) else inspect(source)
    for danger in info.dangers:
        if danger.rule not in allow:
            raise UnsafeDiskError(info.path, danger.rule, danger.reason, hint=danger.hint)
    if expected is not None and info.format is not expected:
        raise UnsafeDiskError(
            info.path,
            "format",
            f"it was announced as {expected}, but it is {info.format}",
            hint=f"if that is right, name it {info.format} (disk type {info.disk_type})",
        )
    if max_virtual_size is not None and info.virtual_size > max_virtual_size:
        raise UnsafeDiskError(
            info.path,
            "virtual-size",
            f"its virtual size is {info.virtual_size} bytes, more than the {max_virtual_size} allowed",
        )
    return info
