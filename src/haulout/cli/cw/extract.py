"""``haulout cw extract``: files out of the encrypted disk of a workload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.cw import params
from haulout.cli.inspect import subject_of
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import ExtractedWorkload
    from haulout.cli.session import Session


@click.command(
    "extract",
    cls=Verb,
    examples=(
        Example("haulout cw extract oci:secret:1 files --passphrase-file key", "take out everything"),
        Example("haulout cw extract oci:secret:1 motd --passphrase-file key etc/motd", "take out one file"),
    ),
)
@click.argument("subject", metavar="REF|FILE", type=click.Path(readable=False))
@click.argument("folder", metavar="DIR", type=Path)
@click.argument("paths", metavar="[PATH]…", nargs=-1)
@params.passphrase
@click.option(
    "--same-owner/--no-same-owner",
    "owners",
    default=None,
    help="Give files the owners that they have in the disk.  [default: if you are root]",
)
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session, subject: str, folder: Path, paths: tuple[str, ...], passphrase_file: str, owners: bool | None
) -> int:
    """Take files out of the encrypted disk of a workload.

    DIR must not exist, or be empty; it appears when everything is in it. PATH is a file or folder in the disk; without
    one, everything is taken out. All of the disk is verified before. Neither root nor a mount is needed.

    Permissions, times, links and holes are kept; set-id bits only together with the owners. Devices and sockets are
    left out. Nothing is written outside of DIR, whatever the disk says.
    """
    from haulout import extract_workload  # noqa: PLC0415 - loads the cryptography
    from haulout.workload import read_passphrase  # noqa: PLC0415

    found = subject_of(subject)
    passphrase = read_passphrase(passphrase_file)
    with session.progress() as progress:
        taken = extract_workload(
            found,
            passphrase,
            folder,
            paths=paths,
            owners=owners,
            connections=session.connections(),
            progress=progress,
        )
    session.result("cw extract", {"subject": subject, **taken.to_dict()}, _lines(taken), brief=str(folder))
    return 0


def _lines(taken: ExtractedWorkload) -> Iterator[str]:
    done = taken.extraction
    yield (
        f"{taken.folder}: {done.files} files, {done.directories} directories and {done.links} links, {size(done.bytes)}"
    )
    if not taken.verified:
        yield "  NOT verified: the image has no binding"
    if not taken.owners:
        yield "  owners and set-id bits were not kept"
    if done.left_out:
        more = f" and {len(done.left_out) - 5} more" if len(done.left_out) > 5 else ""
        yield f"  left out: {', '.join(done.left_out[:5])}{more}"
