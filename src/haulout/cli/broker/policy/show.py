"""``haulout broker policy show``: a policy's document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import access
from haulout.cli.params import NumberParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "show",
    cls=Verb,
    short_help="Print the policy of a workload.",
    examples=(
        Example("haulout broker policy show web", "print the policy in force"),
        Example("haulout broker policy show web --version 1", "print an earlier one"),
    ),
)
@click.argument("workload", metavar="WORKLOAD")
@click.option("--version", metavar="N", type=NumberParam(1, 1 << 31), help="An earlier version.")
@access.access
@options.common
@click.pass_obj
def command(session: Session, workload: str, version: int | None, url: str, token_file: str | None) -> int:
    """Print the policy of a workload as it was set; with --json also what it says."""
    from haulout.brokers import broker_policy_show  # noqa: PLC0415 - loads the HTTP client

    found = broker_policy_show(
        access.opened(session, url, token_file), workload, version=version, connections=session.connections()
    )
    session.result("broker policy show", found.to_dict(), found.text.splitlines())
    return 0
