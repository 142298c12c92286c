"""``haulout broker owner``: who owns workloads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import params
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "owner",
    cls=Verb,
    short_help="Add an owner of workloads, or give out tokens.",
    examples=(
        Example("haulout broker owner alice --state broker --token-out alice.token", "add an owner with a token"),
        Example("haulout broker owner alice --state broker --revoke", "let nobody act as this owner any more"),
    ),
)
@click.argument("name", metavar="NAME")
@params.state
@click.option(
    "--token-out", metavar="FILE", type=click.Path(path_type=Path), help="Write a new token to this new file."
)
@click.option(
    "--certificate",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Accept this client certificate, in PEM (serve with --client-ca).",
)
@click.option("--revoke", is_flag=True, help="First take away all tokens and certificates of this owner.")
@options.common
@click.pass_obj
def command(
    session: Session, name: str, folder: Path, token_out: Path | None, certificate: Path | None, revoke: bool
) -> int:
    """Add an owner of workloads, or change by what one proves to be this owner.

    The broker keeps only the token's SHA-256: a lost token cannot be shown again.
    """
    from haulout.brokers import broker_owner  # noqa: PLC0415 - loads the database

    done = broker_owner(folder, name, token_out=token_out, certificate=certificate, revoke=revoke)
    lines = [f"owner {done.name}"]
    if done.revoked:
        lines.append(f"  revoked      {done.revoked}")
    if done.token_file is not None:
        lines.append(f"  token        {done.token_file}")
    if done.certificate is not None:
        lines.append(f"  certificate  {done.certificate}")
    session.result("broker owner", done.to_dict(), lines, brief=done.name)
    return 0
