"""``haulout fetch``: fetch what is attached to a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ReferenceParam
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference


@click.command(
    "fetch",
    cls=Verb,
    examples=(
        Example(
            "haulout fetch registry.example.com/machines:5.0 --type application/spdx+json -o machines.spdx.json",
            "fetch the SBOM of a version",
        ),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.option("--type", "artifact_type", metavar="TYPE", help="Artifact type of what is fetched.")
@click.option("--digest", metavar="DIGEST", help="Its digest, or the first digits, where there are several.")
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="FILE|DIR",
    help="Write to FILE, or into DIR.  [default: the published titles, in the current directory]",
)
@options.attached_to
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    reference: Reference,
    artifact_type: str | None,
    digest: str | None,
    output: str | None,
    arch: Architecture | None,
    disk_type: DiskType | None,
) -> None:
    """Fetch the files that are attached to REF under a type.

    They are verified, and appear when they are whole; a file that is there is replaced. Where several things of the
    type are attached, none is fetched until --digest, --arch or --disk-type chooses one.
    """
    if output == "-":
        raise UsageError("files cannot be written to a pipe", hint="name a file; for a file called -, write ./-")
    from haulout import fetch_attached  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        done = fetch_attached(
            reference,
            artifact_type=artifact_type,
            digest=digest,
            output=output,
            architecture=arch,
            disk_type=disk_type,
            connections=session.connections(),
            progress=progress,
        )
    session.result("fetch", done.to_dict(), (str(path) for path in done.files))
