"""``haulout delta``: publish what changed between two disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ArchitectureParam, DiskTypeParam, ReferenceParam
from haulout.cli.terminal import count, duration, size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.cli.session import Session
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference
    from haulout.publish import DeltaResult, PublishedDelta


@click.command(
    "delta",
    cls=Verb,
    examples=(
        Example(
            "haulout delta registry.example.com/machines:5.0 registry.example.com/machines:5.1",
            "let clients that have 5.0 fetch only what changed in 5.1",
        ),
        Example(
            "haulout delta oci:machines:5.0 oci:machines:5.1 --type raw --old-file disk.raw --new-file next.raw",
            "the same with local disk files, without pulling them",
        ),
    ),
)
@click.argument("old", metavar="OLD", type=ReferenceParam())
@click.argument("new", metavar="NEW", type=ReferenceParam())
@click.option(
    "--arch", type=ArchitectureParam(), metavar="ARCH", help="Architecture of the disks.  [default: this machine's]"
)
@click.option(
    "--type",
    "disk_type",
    type=DiskTypeParam(),
    metavar="TYPE",
    help="Disk type of the disks.  [default: qemu, else the only one there is]",
)
@click.option(
    "--old-file",
    type=click.Path(readable=False),
    metavar="FILE",
    help="Local file of OLD, used instead of pulling it.",
)
@click.option(
    "--new-file",
    type=click.Path(readable=False),
    metavar="FILE",
    help="Local file of NEW, used instead of pulling it.",
)
@click.option("--level", type=click.IntRange(1, 22), metavar="N", default=12, show_default=True, help="zstd level.")
@click.option("--again", is_flag=True, help="Make the delta even if one from OLD is already attached to NEW.")
@options.jobs
@options.uploads
@options.common
@click.pass_obj
def command(
    session: Session,
    old: Reference,
    new: Reference,
    arch: Architecture | None,
    disk_type: DiskType | None,
    old_file: str | None,
    new_file: str | None,
    level: int,
    again: bool,
    jobs: int | None,
) -> None:
    """Publish what changed from the disk OLD to the disk NEW.

    The delta is attached to NEW. A client that pulls NEW and has OLD, in any file, fetches the delta instead of the
    parts that changed; the result is verified as always. OLD and NEW may be in different repositories. An existing
    delta is kept.
    """
    from haulout import delta  # noqa: PLC0415 - loads compression and the HTTP client

    with session.progress() as progress:
        result = delta(
            old,
            new,
            architecture=arch,
            disk_type=disk_type,
            old_file=old_file,
            new_file=new_file,
            level=level,
            again=again,
            connections=session.connections(),
            progress=progress,
            jobs=jobs,
        )
    pinned = "" if result.manifest is None else str(result.reference.at(result.manifest))
    session.result("delta", result.to_dict(), lines(result), brief=pinned)


def lines(result: DeltaResult) -> Iterator[str]:
    """Write a delta for people: what it costs beside the whole disk; then its reference."""
    took = duration(result.seconds)
    if result.manifest is None:
        yield f"no delta needed: {result.old} has all data of {result.reference} ({took})"
        return
    what = "already attached" if result.status == "present" else "published"
    yield f"delta to {result.reference} {what} ({cost(result)}, {took})"
    yield f"from {result.old}"
    yield str(result.reference.at(result.manifest))


def cost(result: PublishedDelta) -> str:
    """Say what fetching a delta costs beside the whole disk."""
    if result.index is None or result.data is None:
        return "not needed"
    amount = result.index.size + result.data.size
    share = f"{100 * amount / result.blob.size:.1f} % of the whole"
    return f"{size(amount)}, {share}, {size(result.new)} new in {count(result.segments, 'segment')}"
