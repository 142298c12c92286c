"""``haulout broker collateral list``: what is at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker.collateral import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.cli.session import Session


@click.command(
    "list",
    cls=Verb,
    short_help="List what is kept, and until when it is valid.",
    examples=(Example("haulout broker collateral list --state broker", "show what is there, verified"),),
)
@common.folder
@options.common
@click.pass_obj
def command(session: Session, folder: Path, cache: Path | None, test_roots: tuple[str, ...]) -> int:
    """List certificates and collateral, each verified: what it is, and until when it is valid.

    Exit status is 1 if something is not genuine, or not valid now.
    """
    from haulout.brokers import list_collateral  # noqa: PLC0415 - loads the cryptography

    report = list_collateral(cache or folder / "collateral", test_roots=test_roots)
    session.result("broker collateral list", report.to_dict(), common.lines(report), brief=str(len(report.entries)))
    return 1 if report.problems else 0
