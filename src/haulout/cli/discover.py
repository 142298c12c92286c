"""``haulout discover``: show what is attached to a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ReferenceParam
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import Attached, Discovery, Subject
    from haulout.cli.session import Session
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference


@click.command(
    "discover",
    cls=Verb,
    examples=(
        Example("haulout discover registry.example.com/machines:5.0", "show everything that is attached, as a tree"),
        Example(
            "haulout discover oci:machines:5.0 --type application/spdx+json --json", "find its SBOMs, for programs"
        ),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.option("--type", "artifact_type", metavar="TYPE", help="Show only what is of this artifact type.")
@click.option(
    "--depth",
    type=click.IntRange(1, 6),
    metavar="N",
    help="Levels shown of what is attached to what is attached, 1 to 6.  [default: all]",
)
@options.attached_to
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    reference: Reference,
    artifact_type: str | None,
    depth: int | None,
    arch: Architecture | None,
    disk_type: DiskType | None,
) -> None:
    """Show what is attached to REF and to its disks.

    Referrers are listed at every level, and what the tags of cosign (sha256-….sig) hold. Types are read from the
    manifests, because lists that some tools keep are wrong.
    """
    from haulout import discover  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        found = discover(
            reference,
            artifact_type=artifact_type,
            depth=depth,
            architecture=arch,
            disk_type=disk_type,
            connections=session.connections(),
            progress=progress,
        )
    session.result("discover", found.to_dict(), lines(found))


def lines(found: Discovery) -> Iterator[str]:
    """Write what is attached for people, as a tree."""
    for subject in found.subjects:
        yield _head(subject)
        if not subject.referrers:
            yield "  nothing is attached to the reference itself"
        yield from _branches(subject.referrers, "")
    for note in found.notes:
        yield f"note: {note}"


def _head(subject: Subject) -> str:
    words = [word for word in (subject.platform, subject.disk_type) if word]
    return f"{subject.digest} ({'/'.join(words)})" if words else str(subject.digest)


def _branches(attached: tuple[Attached, ...], indent: str) -> Iterator[str]:
    for number, each in enumerate(attached, 1):
        is_last = number == len(attached)
        more = [size(each.size), f"tag {each.tag}" if each.tag else "", each.digest.short]
        titles = ", ".join(file.title for file in each.files if file.title)
        yield f"{indent}{'└── ' if is_last else '├── '}{each.artifact_type}: {', '.join(filter(None, [titles, *more]))}"
        yield from _branches(each.referrers, f"{indent}{'    ' if is_last else '│   '}")
