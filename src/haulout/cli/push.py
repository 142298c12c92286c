"""``haulout push``: publish disks under one reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from haulout.cli import delta, options
from haulout.cli.params import (
    AnnotationParam,
    ArchitectureParam,
    BaseParam,
    DiskSourceParam,
    DiskTypeParam,
    DiskTypesParam,
    ReferenceParam,
)
from haulout.cli.terminal import count, duration, size, table
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import DiskSource
    from haulout.cli.session import Session
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference
    from haulout.publish import PushResult


@click.command(
    "push",
    cls=Verb,
    examples=(
        Example(
            "haulout push registry.example.com/machines:5.0 disk.qcow2",
            "publish a disk of this architecture",
        ),
        Example(
            "haulout push registry.example.com/machines:5.0 "
            "--disk x86_64/qemu=disk.qcow2 --disk aarch64/qemu=arm.qcow2",
            "publish disks for two architectures under one tag",
        ),
        Example(
            "haulout push oci:machines:5.0 disk.raw --also qemu,hyperv",
            "publish a raw disk in three formats, in a local image layout",
        ),
        Example(
            "haulout push oci:machines:5.0 disk.raw --tag 5 --tag latest --annotation org.example.team=os",
            "publish under three tags, with an annotation",
        ),
        Example(
            "haulout push registry.example.com/machines:5.1 next.qcow2 --delta-from registry.example.com/machines:5.0",
            "publish the next version, with a delta for those who have 5.0",
        ),
        Example(
            "haulout push registry.example.com/machines:5.0 disk.qcow2 --container-disk",
            "publish a disk, and a container image with it for KubeVirt, under one tag",
        ),
        Example(
            "haulout push registry.example.com/machines:5.0 disk.qcow2 --dry-run",
            "show what would be sent",
        ),
        Example(
            "haulout push oci:machines:5.1 next.raw --base oci:machines:5.0",
            "publish the next version over a named base; in the same repository or layout it is found automatically",
        ),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.argument("disks", metavar="[DISK]...", nargs=-1, type=click.Path(readable=False))
@click.option(
    "--arch", type=ArchitectureParam(), metavar="ARCH", help="Architecture of the DISKs.  [default: this machine's]"
)
@click.option(
    "--type",
    "disk_type",
    type=DiskTypeParam(),
    metavar="TYPE",
    help="Disk type (target hypervisor) of the DISKs, or the name of its format.  [default: by inspection]",
)
@click.option(
    "--disk",
    "named",
    type=DiskSourceParam(),
    metavar="ARCH/TYPE=FILE",
    multiple=True,
    help="Push FILE as this architecture and disk type. Repeatable.",
)
@click.option(
    "--also",
    type=DiskTypesParam(),
    metavar="TYPE,...",
    multiple=True,
    help="Also convert each DISK to these types, and push them.",
)
@click.option(
    "--base",
    type=BaseParam(),
    metavar="REF|none",
    help="Version to reuse data of; none for no base.  [default: this tag's current disks, else the previous tag's]",
)
@click.option(
    "--delta-from",
    type=ReferenceParam(),
    metavar="REF",
    multiple=True,
    help="Attach a delta from this earlier version (see haulout delta). Repeatable.",
)
@click.option(
    "--container-disk",
    is_flag=True,
    help="Also publish each architecture's disk in a container image, for KubeVirt, CDI and crun-vm.",
)
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Also let this tag point to the result. Repeatable.")
@click.option(
    "--annotation",
    "annotations",
    type=AnnotationParam(),
    metavar="[index:|manifest:]KEY=VALUE",
    multiple=True,
    help="Write an annotation on the index and the disks' manifests, or on one of them. Repeatable.",
)
@click.option(
    "--source-from-git",
    metavar="DIR",
    type=click.Path(),
    help="State the remote, commit and date of this git checkout on the index.",
)
@click.option("--force", is_flag=True, help="Publish a file that nothing shows to be a disk.")
@click.option("--title", metavar="NAME", help="First part of the file titles.  [default: the repository's name]")
@click.option("--level", type=click.IntRange(1, 22), metavar="N", default=6, show_default=True, help="zstd level.")
@options.dry_run
@options.jobs
@options.uploads
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
    container_disk: bool,
    tags: tuple[str, ...],
    annotations: tuple[tuple[str, str], ...],
    source_from_git: str | None,
    force: bool,
    title: str | None,
    level: int,
    dry_run: bool,
    jobs: int | None,
) -> None:
    """Publish bootable disks under REF.

    Other entries of the tag are kept; only entries of the same architecture and disk type are replaced. Data that the
    registry already has is not sent again. Parts in common with the previous version (the tag's current disk, or the
    previous tag) are reused and cut in the same places, so that clients fetch little more than what changed. Each disk
    is inspected first: one with a backing file, encryption or a false header is refused. Of a compressed file, an OVA
    or a VHD, the disk inside is published.
    """
    if not disks and not named:
        raise UsageError("nothing to push", hint="name a disk file, or use --disk ARCH/TYPE=FILE")
    if not disks and (arch or disk_type):
        raise UsageError("--arch and --type belong to DISK arguments", hint="--disk ARCH/TYPE=FILE carries its own")
    from haulout import push  # noqa: PLC0415 - loads compression and the HTTP client

    with session.progress() as progress:
        result = push(
            reference,
            (*disks, *named),
            architecture=arch,
            disk_type=disk_type,
            also=tuple(dict.fromkeys(one for several in also for one in several)),
            level=level,
            container_disk=container_disk,
            tags=tags,
            annotations=dict(annotations),
            source_from_git=source_from_git,
            force=force,
            title=title,
            base=base or None,
            use_base=base is not False,
            delta_from=delta_from,
            dry_run=dry_run,
            connections=session.connections(),
            progress=progress,
            jobs=jobs,
        )
    session.result("push", result.to_dict(), lines(result), brief=str(result.pinned))


def lines(result: PushResult) -> Iterator[str]:
    """Write a push for people: a line, a table, the pinned reference."""
    present = sum(disk.status == "present" for disk in result.disks)
    there = f", {present} already present" if present else ""
    traffic = f"sent {size(result.traffic.sent)} in {count(result.traffic.requests, 'request')}, "
    if result.missing is not None:
        traffic = f"{count(result.missing.count, 'blob')} to send, {size(result.missing.size)}, "
    elif not result.traffic.requests:
        traffic = ""
    verb = "would push" if result.dry_run else "pushed"
    cost = f"{there} ({traffic}{duration(result.seconds)})"
    yield f"{verb} {count(len(result.disks), 'disk')} to {result.reference}{cost}"
    rows = [
        (
            f"{disk.architecture}/{disk.disk_type}",
            disk.title,
            size(disk.disk.size),
            size(disk.blob.size),
            "to push" if result.dry_run and disk.status == "pushed" else disk.status,
        )
        for disk in result.disks
    ]
    yield from table(("disk", "title", "size", "compressed", "status"), rows)
    for disk in result.disks:
        if disk.base is not None and disk.base.frames:
            taken = f"{count(disk.base.frames, 'frame')} ({size(disk.base.bytes)})"
            yield f"  {disk.architecture}/{disk.disk_type}: reused {taken} of {disk.base.reference}"
    for one in result.container_disks:
        yield f"  container disk for {one.architecture}: {one.path}, {size(one.blob.size)}, {one.status}"
    for each in result.deltas:
        yield f"  {each.architecture}/{each.disk_type}: delta {delta.cost(each)}, from {each.old}"
    if result.tags:
        yield f"{'would also tag' if result.dry_run else 'also tagged'} {', '.join(result.tags)}"
    yield str(result.pinned)
