"""``haulout broker workload list``: an owner's workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import access
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "list",
    cls=Verb,
    short_help="List the workloads of an owner.",
    examples=(Example("haulout broker workload list", "list the workloads"),),
)
@access.access
@options.common
@click.pass_obj
def command(session: Session, url: str, token_file: str | None) -> int:
    """List the workloads of an owner; those of others are not shown."""
    from haulout.brokers import broker_workload_list  # noqa: PLC0415 - loads the HTTP client

    found = broker_workload_list(access.opened(session, url, token_file), connections=session.connections())
    width = max((len(one.id) for one in found), default=0)
    lines = [
        f"{one.id:{width}}  {'no policy' if one.policy is None else f'policy {one.policy.version}'}, "
        f"{one.releases} {'release' if one.releases == 1 else 'releases'}"
        for one in found
    ]
    document = {"workloads": [one.to_dict() for one in found]}
    session.result("broker workload list", document, lines or ["there is no workload"], brief=[one.id for one in found])
    return 0
