"""``haulout resolve``: which disk a reference means at this moment, pinned by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.params import ArchitectureParam, DiskTypeParam, ReferenceParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference
    from haulout.resolve import ResolvedDisk


@click.command(
    "resolve",
    cls=Verb,
    examples=(
        Example("haulout resolve registry.example.com/machines:5.0", "pin the disk for this processor and QEMU"),
        Example("haulout resolve oci:machines:5.0 --type hyperv --json", "the same for programs, and Hyper-V"),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.option("--arch", type=ArchitectureParam(), metavar="ARCH", help="Processor of the disk.  [default: this one's]")
@click.option(
    "--type", "disk_type", type=DiskTypeParam(), metavar="TYPE", help="Disk type (target hypervisor).  [default: qemu]"
)
@click.option("--title", metavar="FILE", help="Of an artifact with several files, the one with this title.")
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    reference: Reference,
    arch: Architecture | None,
    disk_type: DiskType | None,
    title: str | None,
) -> None:
    """Print the one disk that REF means, as repository@digest.

    Nothing but manifests is fetched; only of a small container image, the layers tell whether there is a disk in it.
    Pulling what is printed gives the same disk for ever, wherever the tag moves.
    """
    from haulout.usecases import resolve  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        found = resolve(
            reference,
            architecture=arch,
            disk_type=disk_type,
            title=title,
            connections=session.connections(),
            progress=progress,
        )
    session.result("resolve", document(found), (str(found.pinned),))


def document(found: ResolvedDisk) -> dict[str, Any]:
    """Return the JSON of a resolved disk."""
    return {
        "reference": str(found.reference),
        "pinned": str(found.pinned),
        "shape": str(found.shape),
        "architecture": None if found.architecture is None else str(found.architecture),
        "disk_type": found.disk_type,
        "container_disk": found.container_disk,
        "title": found.title,
        "compression": found.compression,
        "manifest": str(found.digest),
        "blob": {"digest": str(found.layer.digest), "size": found.layer.size},
        "disk": None if found.disk is None else {"digest": str(found.disk.digest), "size": found.disk.size},
        "toc": None if found.toc is None else {"digest": str(found.toc.digest), "size": found.toc.size},
    }
