"""``haulout broker policy history``: the versions of a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import access
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "history",
    cls=Verb,
    short_help="List the versions of a policy.",
    examples=(Example("haulout broker policy history web", "list the versions of a policy"),),
)
@click.argument("workload", metavar="WORKLOAD")
@access.access
@options.common
@click.pass_obj
def command(session: Session, workload: str, url: str, token_file: str | None) -> int:
    """List the versions of a workload's policy, the oldest first; the last one is in force."""
    from haulout.brokers import broker_policy_history  # noqa: PLC0415 - loads the HTTP client

    found = broker_policy_history(access.opened(session, url, token_file), workload, connections=session.connections())
    lines = [f"{one.version:4}  {one.created}  {one.digest}" for one in found]
    document = {"workload": workload, "versions": [one.to_dict() for one in found]}
    session.result("broker policy history", document, lines or [f"{workload} has no policy"])
    return 0
