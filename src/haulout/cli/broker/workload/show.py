"""``haulout broker workload show``: one workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import access
from haulout.cli.broker.workload import report
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "show",
    cls=Verb,
    short_help="Show a workload.",
    examples=(Example("haulout broker workload show web", "show a workload"),),
)
@click.argument("workload", metavar="WORKLOAD")
@access.access
@options.common
@click.pass_obj
def command(session: Session, workload: str, url: str, token_file: str | None) -> int:
    """Show a workload: its policy, how often its key was released, and by which names guests ask for it."""
    from haulout.brokers import broker_workload_show  # noqa: PLC0415 - loads the HTTP client

    found = broker_workload_show(access.opened(session, url, token_file), workload, connections=session.connections())
    session.result("broker workload show", found.to_dict(), report.lines(found), brief=found.id)
    return 0
