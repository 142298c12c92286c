"""``haulout broker policy set``: put a policy into force."""

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
    "set", cls=Verb, examples=(Example("haulout broker policy set web web.toml", "put a policy into force"),)
)
@click.argument("workload", metavar="WORKLOAD")
@click.argument("file", metavar="FILE", type=click.Path())
@access.access
@options.common
@click.pass_obj
def command(session: Session, workload: str, file: str, url: str, token_file: str | None) -> int:
    """Put a policy into force for a workload. It counts from the next release on; earlier versions are kept.

    Try it first: "haulout broker policy check".
    """
    from haulout.brokers import broker_policy_set  # noqa: PLC0415 - loads the HTTP client

    done = broker_policy_set(access.opened(session, url, token_file), workload, file, connections=session.connections())
    version = "" if done.policy is None else str(done.policy.version)
    session.result("broker policy set", done.to_dict(), report.lines(done), brief=version)
    return 0
