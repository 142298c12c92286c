"""``haulout update-disk``: the next version of a disk, beside it, for virtual machines that are not haulout's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ArchitectureParam, DiskTypeParam, FormatParam, NumberParam, ReferenceParam
from haulout.cli.pull import lines as pull_lines
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout import UpdateDiskResult
    from haulout.cli.session import Session
    from haulout.disk import DiskFormat, DiskType
    from haulout.oci import Architecture, Reference

_NO = 1
"""Exit code where the answer is no: there is nothing newer."""


@click.command(
    "update-disk",
    cls=Verb,
    examples=(
        Example(
            "haulout update-disk disk.raw oci:machines:5.1 -o new.raw", "make the next version of a disk beside it"
        ),
        Example(
            "haulout update-disk disk.raw oci:machines:5.1 -o newer.raw --dry-run",
            "show what would be fetched, and the room it takes",
        ),
    ),
)
@click.argument("old", metavar="OLD", type=click.Path(readable=False))
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="NEW",
    required=True,
    help="Write the new disk to NEW, where nothing is yet; into it, named by its digest, if it is a directory.",
)
@click.option("--format", "as_format", type=FormatParam(), help="Format of NEW.  [default: that of OLD]")
@click.option("--arch", type=ArchitectureParam(), metavar="ARCH", help="CPU architecture.  [default: this machine's]")
@click.option("--type", "disk_type", type=DiskTypeParam(), help="Disk type.  [default: that of the format of NEW]")
@click.option(
    "--current",
    metavar="DIGEST",
    help="What OLD was made from, where it was written to since: digest of the manifest or the disk.",
)
@click.option("--no-delta", is_flag=True, help="Do not use published deltas.")
@click.option(
    "--hook",
    type=click.Path(),
    metavar="PROGRAM",
    help="Run PROGRAM before anything is fetched, when NEW is ready, and when that failed (docs/update-disk.md).",
)
@click.option(
    "--hook-timeout",
    type=NumberParam(1, 86400, float),
    metavar="SECONDS",
    default=900.0,
    help="Longest time each run of PROGRAM may take.  [default: 900]",
)
@options.dry_run
@options.connections
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    old: Path,
    reference: Reference,
    output: Path,
    as_format: DiskFormat | None,
    arch: Architecture | None,
    disk_type: DiskType | None,
    current: str | None,
    no_delta: bool,
    hook: str | None,
    hook_timeout: float,
    dry_run: bool,
    jobs: int | None,
) -> int:
    """Make the disk of REF out of OLD and what is fetched.

    OLD is the disk that a virtual machine of any tool has now, in any format; it is only read, and may be in use. NEW
    appears whole and verified, in the format of OLD. Exit status is 1 where OLD is the disk of REF already; then there
    is no NEW.
    """
    from haulout import update_disk  # noqa: PLC0415 - loads decompression and the HTTP client

    with session.progress() as progress:
        result = update_disk(
            old,
            reference,
            output,
            architecture=arch,
            disk_type=disk_type,
            as_format=as_format,
            current=current,
            use_deltas=not no_delta,
            hook=hook,
            hook_seconds=hook_timeout,
            dry_run=dry_run,
            connections=session.connections(),
            progress=progress,
            jobs=jobs,
        )
    unchanged = result.status == "unchanged"
    session.result("update-disk", result.to_dict(), lines(result), brief="" if unchanged else str(result.path))
    return _NO if unchanged else 0


def lines(result: UpdateDiskResult) -> Iterator[str]:
    """Write an update of a disk for people."""
    if result.pull is None:
        yield f"{result.old.path} is the disk of {result.reference} already; there is nothing to do"
        yield str(result.pinned)
        return
    *first, pinned = pull_lines(result.pull)
    yield from first
    if result.status == "planned" and result.needed is not None:
        yield f"  takes up to {size(result.needed)}; {size(result.free)} are free"
    yield pinned
