"""``haulout broker workload rm``: remove a workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import access
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command("rm", cls=Verb, examples=(Example("haulout broker workload rm web", "remove a workload and its keys"),))
@click.argument("workload", metavar="WORKLOAD")
@access.access
@options.common
@click.pass_obj
def command(session: Session, workload: str, url: str, token_file: str | None) -> int:
    """Remove a workload with its policies and keys. A disk that only this key opens is lost with it.

    The audit log keeps its rows.
    """
    from haulout.brokers import broker_workload_rm  # noqa: PLC0415 - loads the HTTP client

    broker_workload_rm(access.opened(session, url, token_file), workload, connections=session.connections())
    session.result("broker workload rm", {"workload": workload}, [f"removed {workload}"], brief=workload)
    return 0
