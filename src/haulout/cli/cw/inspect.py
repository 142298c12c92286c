"""``haulout cw inspect``: what an image or disk of a confidential workload is, and whether it is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.inspect import subject_of
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session

_NO = 1
"""Exit code of the answer "no": a rule is broken."""


@click.command(
    "inspect",
    cls=Verb,
    examples=(
        Example("haulout cw inspect oci:secret:1", "check an image without its passphrase"),
        Example("haulout cw inspect oci:secret:1 --passphrase-file key --json", "unlock it and check every block"),
    ),
)
@click.argument("subject", metavar="REF|FILE", type=click.Path(readable=False))
@click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="Unlock the disk with the passphrase in FILE, or - for standard input, and check its content.",
)
@options.registry
@options.common
@click.pass_obj
def command(session: Session, subject: str, passphrase_file: str | None) -> int:
    """Show and check the image or disk of a workload.

    Images of "haulout cw build" and of "buildah mkcw" can be inspected. FILE is a disk.img by itself. The disk is
    unlocked in memory: nothing is mounted, and nothing unencrypted is written.

    Exit status is 1 if a rule is broken, such as two footers, a cipher that protects nothing, or a binding that names
    another disk; docs/confidential.md lists the rules.
    """
    from haulout import inspect_workload  # noqa: PLC0415 - loads the HTTP client
    from haulout.cli.cw import report  # noqa: PLC0415
    from haulout.workload import read_passphrase  # noqa: PLC0415

    found = subject_of(subject)
    passphrase = None if passphrase_file is None else read_passphrase(passphrase_file)
    with session.progress() as progress:
        findings = inspect_workload(found, passphrase=passphrase, connections=session.connections(), progress=progress)
    session.result(
        "cw inspect",
        {"subject": subject, **findings.to_dict()},
        report.lines(subject, findings),
        brief="sound" if not findings.broken else f"broken: {', '.join(str(one.rule) for one in findings.broken)}",
    )
    return _NO if findings.broken else 0
