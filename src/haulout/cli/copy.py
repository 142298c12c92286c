"""``haulout copy``: copy a reference with everything that belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ArchitectureParam, DiskTypesParam, ReferenceParam
from haulout.cli.terminal import count, duration, size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import CopyResult
    from haulout.cli.session import Session
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference


@click.command(
    "copy",
    cls=Verb,
    examples=(
        Example(
            "haulout copy registry.example.com/machines:5.0 registry.example.com/mirror/machines:5.0",
            "copy a version, with deltas and signatures",
        ),
        Example(
            "haulout copy registry.example.com/machines:5.0 oci-archive:machines.tar:5.0",
            "take it along in one file",
        ),
        Example(
            "haulout copy oci:machines:5.0 registry.example.com/copy:5.0 --type qemu,hyperv --dry-run",
            "see what two of its disks would cost",
        ),
    ),
)
@click.argument("source", metavar="SRC", type=ReferenceParam())
@click.argument("destination", metavar="DST", type=ReferenceParam())
@click.option(
    "--arch",
    "architectures",
    type=ArchitectureParam(),
    metavar="ARCH",
    multiple=True,
    help="Copy only disks of this architecture. Repeatable.",
)
@click.option(
    "--type",
    "disk_types",
    type=DiskTypesParam(),
    metavar="TYPE,...",
    multiple=True,
    help="Copy only disks of these types.",
)
@options.copying
@options.common
@click.pass_obj
def command(
    session: Session,
    source: Reference,
    destination: Reference,
    architectures: tuple[Architecture, ...],
    disk_types: tuple[tuple[DiskType, ...], ...],
    no_referrers: bool,
    dry_run: bool,
    jobs: int | None,
) -> None:
    """Copy SRC to DST, with all that is attached.

    Each is a registry reference, an image layout (oci:DIR:TAG) or an archive (oci-archive:FILE:TAG). Everything below
    SRC is copied byte for byte, and what is attached to it, tags of cosign signatures included. Only what DST does not
    have is sent; within one registry, blobs are mounted. An interrupted copy continues where it was. With --arch or
    --type, the index is written anew with the chosen disks, so it has another digest.
    """
    from haulout import copy  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        result = copy(
            source,
            destination,
            architectures=architectures,
            disk_types=tuple(each for several in disk_types for each in several),
            referrers=not no_referrers,
            dry_run=dry_run,
            connections=session.connections(),
            progress=progress,
            jobs=jobs,
        )
    session.result("copy", result.to_dict(), lines(result), brief=str(result.pinned))


def lines(result: CopyResult) -> Iterator[str]:
    """Write a copy for people."""
    done = "would copy" if result.dry_run else "copied"
    attached = result.attached + len(result.signature_tags)
    among = f", {attached} of them attached," if attached else ""
    yield f"{done} {count(result.manifests, 'manifest')}{among} to {result.destination}"
    sent = "to send" if result.dry_run else "sent"
    yield (
        f"  {sent}: {result.missing.count} of {count(result.blobs.count, 'blob')}, {size(result.missing.size)} of "
        f"{size(result.blobs.size)} ({duration(result.seconds)})"
    )
    yield str(result.pinned)
