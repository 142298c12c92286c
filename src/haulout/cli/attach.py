"""``haulout attach``: attach files to a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ReferenceParam
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import AttachResult
    from haulout.cli.session import Session
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference


@click.command(
    "attach",
    cls=Verb,
    examples=(
        Example(
            "haulout attach registry.example.com/machines:5.0 sbom.json --type application/spdx+json",
            "attach an SBOM to a version",
        ),
        Example(
            "haulout attach oci:machines:5.0 notes.md --type text/markdown --annotation lang=en",
            "attach notes, annotated",
        ),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(readable=False))
@click.option("--type", "artifact_type", metavar="TYPE", required=True, help="What the files are, as a media type.")
@click.option(
    "--media-type",
    metavar="TYPE",
    default="application/octet-stream",
    show_default=True,
    help="Media type of each file.",
)
@click.option(
    "--annotation",
    "annotations",
    metavar="KEY=VALUE",
    multiple=True,
    help="Annotate the attached manifest. Repeatable.",
)
@options.attached_to
@options.dry_run
@options.uploads
@options.common
@click.pass_obj
def command(
    session: Session,
    reference: Reference,
    files: tuple[str, ...],
    artifact_type: str,
    media_type: str,
    annotations: tuple[str, ...],
    arch: Architecture | None,
    disk_type: DiskType | None,
    dry_run: bool,
) -> None:
    """Attach FILEs to REF.

    They become one manifest whose subject is the index of REF, or one of its disks with --arch or --disk-type.
    Attaching the same again changes nothing. Where the registry keeps no referrers, the fallback tag of the
    specification is maintained.
    """
    from haulout import attach  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        done = attach(
            reference,
            files,
            artifact_type=artifact_type,
            media_type=media_type,
            annotations=dict(_pair(text) for text in annotations),
            architecture=arch,
            disk_type=disk_type,
            dry_run=dry_run,
            connections=session.connections(),
            progress=progress,
        )
    session.result("attach", done.to_dict(), lines(done), brief=str(done.pinned))


def lines(done: AttachResult) -> Iterator[str]:
    """Write what was attached for people."""
    total = size(sum(file.size for file in done.files))
    yield f"{'would attach' if done.dry_run else 'attached'} {done.artifact_type} ({total}) to {done.subject}"
    yield str(done.pinned)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"{text[:200]!r} is not KEY=VALUE")
    return key, value
