"""``haulout cw rekey``: another passphrase, or another key, for the disk of a workload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.cw import params
from haulout.cli.inspect import subject_of
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import RekeyedWorkload, RekeyRequest
    from haulout.cli.session import Session


@click.command(
    "rekey",
    cls=Verb,
    examples=(
        Example(
            "haulout cw rekey oci:secret:1 --passphrase-file key --new-passphrase-out new",
            "change the passphrase of an image",
        ),
        Example(
            "haulout cw rekey oci:secret:1 oci:secret:2 --passphrase-file new --new-passphrase-out newer --reencrypt",
            "encrypt all of it with another key, into another tag",
        ),
    ),
)
@click.argument("subject", metavar="REF|FILE", type=click.Path(readable=False))
@click.argument("dest", metavar="[DEST]", required=False, type=click.Path(readable=False))
@params.passphrase
@click.option(
    "--new-passphrase-file", metavar="FILE", help="Read the new passphrase from FILE, or - for standard input."
)
@click.option(
    "--new-passphrase-out",
    metavar="FILE",
    type=Path,
    help="Have a new passphrase made, and write it to FILE, which must not exist.",
)
@click.option(
    "--reencrypt",
    is_flag=True,
    help="Also make a new master key, and encrypt all of the disk with it: for a passphrase that others may know.",
)
@click.option(
    "--policy-out",
    metavar="FILE",
    type=Path,
    help="Write a policy for 'haulout evidence verify' that names the new binding.",
)
@options.uploads
@options.common
@click.pass_obj
def command(session: Session, /, subject: str, dest: str | None, **given: Any) -> int:
    """Change the passphrase of an encrypted disk, or also its key.

    The image is written anew, into the same tag or to DEST; until the end, the tag is as it was. FILE is a disk.img by
    itself, which is replaced in one step.

    As with "cryptsetup luksChangeKey", the new passphrase takes the place of the old one, and the master key that
    encrypts the data stays: whoever knows the old passphrase and has a copy of the old image can open the new one, too.
    --reencrypt changes that key as well.

    The disk's header changes in both cases, and with it the binding: machines must be started with the printed value,
    and brokers and policies be told. The launch measurement and the content stay as they are.
    """
    from haulout import rekey_workload  # noqa: PLC0415 - loads the cryptography

    request = _request(subject, dest, given)
    with session.progress() as progress:
        done = rekey_workload(request, connections=session.connections(), progress=progress)
    session.result("cw rekey", done.to_dict(), _lines(done), brief=str(done.manifest or done.rekeyed.header))
    return 0


def _request(subject: str, dest: str | None, given: dict[str, Any]) -> RekeyRequest:
    from haulout import RekeyRequest  # noqa: PLC0415
    from haulout.workload import read_passphrase  # noqa: PLC0415

    new = given["new_passphrase_file"]
    if new == "-" and given["passphrase_file"] == new:
        raise UsageError("only one passphrase can be read from standard input", hint="give the other in a file")
    found = subject_of(subject)
    target = None if dest is None else Path(dest) if isinstance(found, Path) else subject_of(dest)
    return RekeyRequest(
        subject=found,
        target=target,
        passphrase=read_passphrase(given["passphrase_file"]),
        new=None if new is None else read_passphrase(new),
        new_out=given["new_passphrase_out"],
        reencrypt=given["reencrypt"],
        policy_out=given["policy_out"],
    )


def _lines(done: RekeyedWorkload) -> Iterator[str]:
    from haulout.cli.cw import report  # noqa: PLC0415 - not needed for --json

    changed = "passphrase and key" if done.reencrypted else "passphrase"
    yield f"{done.reference or done.disk}: another {changed}"
    yield f"  LUKS header     {done.rekeyed.before} before"
    if done.rekeyed.binding is not None:
        yield from report.binding_lines(done.rekeyed.binding)
    else:
        yield f"                  {done.rekeyed.header} now"
    if done.passphrase_file:
        yield f"  passphrase      {done.passphrase_file}: keep it, and keep it secret"
    if done.policy:
        yield f"  policy          {done.policy}"
    if done.reference is not None and done.manifest is not None:
        yield str(done.reference.at(done.manifest))
