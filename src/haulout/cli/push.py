"""``haulout push``: publish disks under one reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from haulout.cli import delta, options
from haulout.cli.params import (
    ArchitectureParam,
    BaseParam,
    DiskSourceParam,
    DiskTypeParam,
    DiskTypesParam,
    ReferenceParam,
)
from haulout.cli.terminal import count, duration, size
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from haulout.cli.session import Session
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference
    from haulout.publish import PushedDisk, PushResult
    from haulout.usecases import DiskSource


@click.command(
    "push",
    cls=Verb,
    examples=(
        Example("haulout push registry.example.com/machines:5.0 disk.qcow2", "publish a disk for this processor"),
        Example(
            "haulout push registry.example.com/machines:5.0 "
            "--disk x86_64/qemu=disk.qcow2 --disk aarch64/qemu=arm.qcow2",
            "publish disks for two processors under one tag",
        ),
        Example(
            "haulout push oci:machines:5.0 disk.raw --also qemu,hyperv",
            "publish a raw disk in three formats, in an image layout beside you",
        ),
        Example(
            "haulout push registry.example.com/machines:5.1 next.qcow2 --delta-from registry.example.com/machines:5.0",
            "publish the next version, with a delta for those who have 5.0",
        ),
        Example(
            "haulout push oci:machines:5.1 next.raw --base oci:machines:5.0",
            "publish the next version; the version before is found by itself where it is a tag of the same place",
        ),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.argument("disks", metavar="[DISK]...", nargs=-1, type=click.Path(readable=False))
@click.option("--arch", type=ArchitectureParam(), metavar="ARCH", help="Processor of the DISKs.  [default: this one's]")
@click.option(
    "--type",
    "disk_type",
    type=DiskTypeParam(),
    help="Disk type (target hypervisor) of the DISKs, or the name of its format.  [default: by inspection]",
)
@click.option(
    "--disk",
    "named",
    type=DiskSourceParam(),
    metavar="ARCH/TYPE=FILE",
    multiple=True,
    help="A disk with its processor and type; may be given several times.",
)
@click.option(
    "--also",
    type=DiskTypesParam(),
    metavar="TYPE,...",
    multiple=True,
    help="Make these types from a raw DISK too, and publish them.",
)
@click.option(
    "--base",
    type=BaseParam(),
    metavar="REF|none",
    help="The version before, if not this tag's present disks or the tag before it.",
)
@click.option(
    "--delta-from",
    type=ReferenceParam(),
    metavar="REF",
    multiple=True,
    help="Attach a delta from this earlier version, too (see haulout delta); may be given several times.",
)
@click.option("--title", metavar="NAME", help="Begin file titles with NAME.  [default: the repository's name]")
@click.option("--level", type=click.IntRange(1, 22), metavar="N", default=6, show_default=True, help="zstd level.")
@options.jobs
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    reference: Reference,
    disks: tuple[str, ...],
    arch: Architecture | None,
    disk_type: DiskType | None,
    named: tuple[DiskSource, ...],
    also: tuple[tuple[DiskType, ...], ...],
    base: Reference | Literal[False] | None,
    delta_from: tuple[Reference, ...],
    title: str | None,
    level: int,
    jobs: int | None,
) -> None:
    """Publish bootable disks under REF.

    Entries the tag holds already stay; only the same processor and type is replaced. What the registry has is not sent
    again. What a disk has in common with the version before (the tag's present disk, or the tag before it) is taken
    over from there and cut in the same places, so that updates move little else than what is new. Each disk is
    inspected first: one with a backing file, encryption or a lying header is refused.
    """
    sources = (*_sources(disks, arch, disk_type), *named)
    if not sources:
        raise UsageError("nothing to push", hint="name a disk file, or use --disk ARCH/TYPE=FILE")
    if not disks and (arch or disk_type):
        raise UsageError("--arch and --type belong to DISK arguments", hint="--disk ARCH/TYPE=FILE carries its own")
    from haulout.usecases import push  # noqa: PLC0415 - loads compression and the HTTP client

    with session.progress() as progress:
        result = push(
            reference,
            sources,
            also=tuple(dict.fromkeys(one for several in also for one in several)),
            level=level,
            title=title,
            base=base or None,
            use_base=base is not False,
            delta_from=delta_from,
            connections=session.connections(),
            progress=progress,
            jobs=jobs,
        )
    session.result("push", document(result), lines(result), brief=str(reference.at(result.index)))


def document(result: PushResult) -> dict[str, Any]:
    """Return the JSON of a push."""
    return {
        "reference": str(result.reference),
        "pinned": str(result.reference.at(result.index)),
        "index": str(result.index),
        "disks": [_disk(disk) for disk in result.disks],
        "deltas": [delta.essence(each) for each in result.deltas],
        "requests": result.traffic.requests,
        "sent": result.traffic.sent,
        "received": result.traffic.received,
        "seconds": round(result.seconds, 3),
    }


def lines(result: PushResult) -> Iterator[str]:
    """Write a push for people: a line, a table, the pinned reference."""
    present = sum(disk.status == "present" for disk in result.disks)
    there = f", {present} there already" if present else ""
    traffic = f"sent {size(result.traffic.sent)} in {count(result.traffic.requests, 'request')}, "
    if not result.traffic.requests:
        traffic = ""
    yield (
        f"pushed {count(len(result.disks), 'disk')} to {result.reference}{there} ({traffic}{duration(result.seconds)})"
    )
    rows = [
        (
            f"{disk.architecture}/{disk.disk_type}",
            disk.title,
            size(disk.disk.size),
            size(disk.blob.size),
            "there already" if disk.status == "present" else "pushed",
        )
        for disk in result.disks
    ]
    yield from table(("disk", "title", "size", "compressed", "status"), rows)
    for disk in result.disks:
        if disk.base is not None and disk.base.frames:
            taken = f"{count(disk.base.frames, 'frame')} ({size(disk.base.bytes)})"
            yield f"  {disk.architecture}/{disk.disk_type}: took {taken} over from {disk.base.reference}"
    for each in result.deltas:
        yield f"  {each.architecture}/{each.disk_type}: delta {delta.cost(each)}, from {each.old}"
    yield str(result.reference.at(result.index))


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Align columns; figures to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = (
            cell.rjust(width) if name in {"size", "compressed"} else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        )
        yield f"  {'  '.join(cells)}".rstrip()


def _sources(disks: tuple[str, ...], arch: Architecture | None, disk_type: DiskType | None) -> list[DiskSource]:
    if not disks:
        return []
    from pathlib import Path  # noqa: PLC0415

    from haulout.oci import Architecture  # noqa: PLC0415
    from haulout.usecases import DiskSource  # noqa: PLC0415

    return [DiskSource(Path(disk), arch or Architecture.here(), disk_type) for disk in disks]


def _disk(disk: PushedDisk) -> dict[str, Any]:
    return {
        "architecture": str(disk.architecture),
        "disk_type": str(disk.disk_type),
        "title": disk.title,
        "status": disk.status,
        "manifest": str(disk.manifest),
        "blob": {"digest": str(disk.blob.digest), "size": disk.blob.size},
        "disk": {"digest": str(disk.disk.digest), "size": disk.disk.size},
        "toc": {"digest": str(disk.toc.digest), "size": disk.toc.size},
        "frames": disk.frames,
        "base": None
        if disk.base is None
        else {"reference": str(disk.base.reference), "frames": disk.base.frames, "bytes": disk.base.bytes},
    }
