"""``haulout pull``: fetch one disk, verified and sparse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ArchitectureParam, FormatParam, ReferenceParam, WantedTypeParam
from haulout.cli.terminal import count, duration, size
from haulout.cli.tree import Example, Verb
from haulout.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.cli.session import Session
    from haulout.disk import DiskFormat, DiskType
    from haulout.fetch import PullResult
    from haulout.oci import Architecture, Reference


@click.command(
    "pull",
    cls=Verb,
    examples=(
        Example("haulout pull registry.example.com/machines:5.0", "fetch the disk for this machine and QEMU"),
        Example(
            "haulout pull registry.example.com/machines:5.0 --arch aarch64 --type qemu -o arm.qcow2",
            "fetch the disk of another architecture under a name of your own",
        ),
        Example("haulout pull oci:machines:5.0 --as raw -o disk2.raw", "convert it to a raw disk"),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.option("--arch", type=ArchitectureParam(), metavar="ARCH", help="CPU architecture.  [default: this machine's]")
@click.option(
    "--type",
    "disk_type",
    type=WantedTypeParam(),
    help="Disk type (target hypervisor), the name of its format, or container-disk.  [default: qemu, or the only one]",
)
@click.option("--title", metavar="FILE", help="Choose the file with this title from an artifact that holds several.")
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="FILE",
    help="Write to FILE, or into it if it is a directory.  [default: the published title, in the current directory]",
)
@click.option("--as", "as_format", type=FormatParam(), help="Convert the disk to this format.")
@click.option("--check-disk", is_flag=True, help="Hash the finished disk as a whole, too.")
@click.option(
    "--seed",
    "seeds",
    type=click.Path(readable=False),
    metavar="FILE",
    multiple=True,
    help="Reuse blocks of this disk image, of any version and format; may be given several times.",
)
@click.option("--no-seeds", is_flag=True, help="Do not reuse blocks of earlier pulls or of the existing target.")
@click.option("--no-delta", is_flag=True, help="Do not use published deltas.")
@click.option(
    "--device", is_flag=True, help="FILE of --output is a block device; replace everything on it, and verify it."
)
@click.option("--dry-run", is_flag=True, help="Print what would be fetched and reused, without fetching the disk.")
@options.connections
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    reference: Reference,
    arch: Architecture | None,
    disk_type: DiskType | str | None,
    title: str | None,
    output: str | None,
    as_format: DiskFormat | None,
    check_disk: bool,
    seeds: tuple[str, ...],
    no_seeds: bool,
    no_delta: bool,
    device: bool,
    dry_run: bool,
    jobs: int | None,
) -> None:
    """Fetch one bootable disk from REF.

    Every byte is verified before the file appears under its name; the file is sparse. After an interruption, the same
    command resumes; verified data is not fetched again. A disk that is already at the target is only verified. Of a new
    version, only the blocks that earlier pulls did not leave on this machine are fetched.

    With --device, the disk goes onto a block device that nothing uses. What is right there is kept, so that an
    interrupted pull resumes; everything is read again in the end. Bytes behind the end of the disk stay.
    """
    if output == "-":
        raise UsageError("a disk cannot be written to a pipe", hint="name a file; for a file called -, write ./-")
    if output == "":
        raise UsageError("--output is empty", hint="leave it out to use the published title")
    if output is not None and output.endswith("/") and not Path(output).is_dir():
        raise NotFoundError(f"there is no directory {output}", hint="create it, or leave the slash out to name a file")
    from haulout import pull  # noqa: PLC0415 - loads decompression and the HTTP client

    with session.progress() as progress:
        result = pull(
            reference,
            architecture=arch,
            disk_type=disk_type,
            title=title,
            output=output,
            as_format=as_format,
            check_disk=check_disk,
            seeds=seeds,
            find_seeds=not no_seeds,
            use_deltas=not no_delta,
            device=device,
            dry_run=dry_run,
            connections=session.connections(),
            progress=progress,
            jobs=jobs,
        )
    session.result("pull", result.to_dict(), lines(result), brief=str(result.path))


def lines(result: PullResult) -> Iterator[str]:
    """Write a pull for people: what came from where, and what was fetched; then the pinned reference."""
    kind = "/".join(part for part in (result.architecture, result.disk_type) if part) or "the disk"
    took = duration(result.seconds)
    if result.status == "present":
        whole = "" if result.disk is None else f"{size(result.disk.size)}, "
        yield f"{kind} of {result.reference} is already here: {result.path} ({whole}{took})"
    else:
        done, verb = ("pulled", "fetched") if result.status == "pulled" else ("would pull", "to fetch:")
        facts = ", ".join([*_sizes(result), took])
        yield f"{done} {kind} of {result.reference} → {result.path} ({facts})"
        yield f"  {verb} {_fetched(result)}"
        yield from (f"  {size(use.size)} reused from {_near(use.path)}" for use in result.moved.seeds)
    yield str(result.pinned)


def _near(path: Path) -> Path:
    """Name a file below the current folder from there."""
    try:
        return path.relative_to(Path.cwd())
    except (OSError, ValueError):
        return path


def _sizes(result: PullResult) -> Iterator[str]:
    if result.disk is not None:
        yield size(result.disk.size)
        if result.moved.zero:
            yield f"{size(result.disk.size - result.moved.zero)} data"


def _fetched(result: PullResult) -> str:
    moved, requests = result.moved, result.traffic.requests
    # The index is fetched besides the blob: without it, a whole pull would be more than 100 %.
    whole = result.blob.size + moved.index
    share = f" ({100 * moved.fetched / whole:.0f} %)" if whole else ""
    how = [
        *(["1 delta"] if moved.delta is not None else []),
        *(["small frames"] if moved.crumbs else []),
        *([count(moved.ranges, "range")] if moved.ranges else []),
        # Those of a plan are not those it takes.
        *([count(requests, "request")] if requests and result.status == "pulled" else []),
    ]
    kept = f"; {size(moved.reused)} of an earlier pull kept" if moved.reused else ""
    return f"{size(moved.fetched)} of {size(whole)}{share}{': ' if how else ''}{', '.join(how)}{kept}"
