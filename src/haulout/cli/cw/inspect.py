"""``haulout cw inspect``: what an image or disk of a confidential workload is, and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.inspect import subject_of
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from haulout.cli.session import Session

_NO = 1
"""Exit code of an honest "no": a rule is broken."""


@click.command(
    "inspect",
    cls=Verb,
    examples=(
        Example("haulout cw inspect oci:secret:1", "look at an image, without its passphrase"),
        Example("haulout cw inspect oci:secret:1 --passphrase-file key --json", "open it and check every block"),
    ),
)
@click.argument("subject", metavar="REF|FILE", type=click.Path(readable=False))
@click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="Open the disk with the passphrase in this file, or - for standard input, and check what is inside.",
)
@options.registry
@options.common
@click.pass_obj
def command(session: Session, subject: str, passphrase_file: str | None) -> int:
    """Show and check the image or disk of a workload.

    Those of "haulout cw build", and of "buildah mkcw", too. FILE is a disk.img by itself. The disk is opened in memory:
    nothing is mounted, and nothing plain is written.

    Exit status is 1 where a rule is broken, such as two footers, a cipher that protects nothing, or a binding that
    names another disk; docs/confidential.md lists the rules.
    """
    from haulout.cli.cw import report  # noqa: PLC0415
    from haulout.places import open_store  # noqa: PLC0415 - loads the HTTP client
    from haulout.workload import secret  # noqa: PLC0415
    from haulout.workload.inspect import inspection  # noqa: PLC0415

    found = subject_of(subject)
    passphrase = None if passphrase_file is None else secret.read(passphrase_file)
    with session.progress() as progress:
        if isinstance(found, Path):
            if found.is_dir():
                raise UsageError(f"{subject} is a directory", hint="name a disk.img, or an image layout as oci:DIR:TAG")
            findings = inspection.inspect_disk(found, passphrase, progress)
        else:
            with open_store(found, session.connections(), progress) as store:
                selector = found.digest or found.tag or "latest"
                findings = inspection.inspect_image(store, selector, passphrase, progress)
    session.result(
        "cw inspect",
        report.document(subject, findings),
        report.lines(subject, findings),
        brief="sound" if not findings.broken else f"broken: {', '.join(str(one.rule) for one in findings.broken)}",
    )
    return _NO if findings.broken else 0
