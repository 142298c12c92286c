"""``haulout resolve``: which disk a reference means at this moment, pinned by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ArchitectureParam, ReferenceParam, WantedTypeParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference


@click.command(
    "resolve",
    cls=Verb,
    examples=(
        Example("haulout resolve registry.example.com/machines:5.0", "pin the disk for this machine and QEMU"),
        Example("haulout resolve oci:machines:5.0 --type hyperv --json", "print the disk for Hyper-V, as JSON"),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.option("--arch", type=ArchitectureParam(), metavar="ARCH", help="CPU architecture.  [default: this machine's]")
@click.option(
    "--type",
    "disk_type",
    type=WantedTypeParam(),
    metavar="TYPE",
    help="Disk type (target hypervisor).  [default: qemu]",
)
@click.option("--title", metavar="FILE", help="Choose the file with this title from an artifact that holds several.")
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    reference: Reference,
    arch: Architecture | None,
    disk_type: DiskType | str | None,
    title: str | None,
) -> None:
    """Print the one disk that REF means, as repository@digest.

    Fetches manifests only, except for small container images, whose layers are searched for a disk. Pulling the printed
    reference always gives the same disk, even after the tag moves.
    """
    from haulout import resolve  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        found = resolve(
            reference,
            architecture=arch,
            disk_type=disk_type,
            title=title,
            connections=session.connections(),
            progress=progress,
        )
    session.result("resolve", found.to_dict(), (str(found.pinned),))
