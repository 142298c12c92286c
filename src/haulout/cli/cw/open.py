"""``haulout cw open``: the plain disk of a workload, listed or written."""

from __future__ import annotations

import stat
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

    from haulout import OpenedWorkload
    from haulout.cli.session import Session
    from haulout.workload import FoundFile


@click.command(
    "open",
    cls=Verb,
    examples=(
        Example("haulout cw open oci:secret:1 --passphrase-file key", "list the files in the encrypted disk"),
        Example(
            "haulout cw open oci:secret:1 --passphrase-file key --output plain.ext4", "write the disk, not encrypted"
        ),
    ),
)
@click.argument("subject", metavar="REF|FILE", type=click.Path(readable=False))
@params.passphrase
@click.option("-o", "--output", metavar="FILE", type=Path, help="Write the plain disk to FILE, instead of listing it.")
@options.registry
@options.common
@click.pass_obj
def command(session: Session, subject: str, passphrase_file: str, output: Path | None) -> int:
    """List the files of an encrypted disk, or write it in clear.

    Images of "haulout cw build" and of "buildah mkcw" can be opened; FILE is a disk.img by itself. All of the disk is
    verified before anything of it is shown or written. Neither root nor a mount is needed.

    The written disk is an ext4, with dm-verity's hashes behind it where the image is bound; only you can read it.
    Anyone who can read it needs no passphrase any more: delete it after use.
    """
    from haulout import open_workload  # noqa: PLC0415 - loads the cryptography
    from haulout.workload import read_passphrase  # noqa: PLC0415

    found = subject_of(subject)
    passphrase = read_passphrase(passphrase_file)
    with session.progress() as progress:
        opened = open_workload(found, passphrase, output=output, connections=session.connections(), progress=progress)
    session.result(
        "cw open", {"subject": subject, **opened.to_dict()}, _lines(subject, opened), brief=str(output or "")
    )
    return 0


def _lines(subject: str, opened: OpenedWorkload) -> Iterator[str]:
    checked = "every block verified" if opened.verified else "NOT verified: the image has no binding"
    yield f"{subject}: ext4 of {size(opened.file_system_size)}, {checked}"
    if opened.output is not None:
        yield f"  written to {opened.output}, {size(opened.size)}, not encrypted"
    for one in opened.files:
        yield _line(one)


def _line(one: FoundFile) -> str:
    points = "" if one.points is None else f" -> {one.points}"
    name = one.name.encode("unicode_escape").decode() if not one.name.isprintable() else one.name
    return f"{stat.filemode(one.mode)}  {one.uid}:{one.gid:<6} {one.size:>12}  /{name}{points}"
