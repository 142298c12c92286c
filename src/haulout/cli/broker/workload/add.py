"""``haulout broker workload add``: register a workload."""

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
    "add",
    cls=Verb,
    short_help="Register a workload.",
    examples=(
        Example(
            "haulout broker workload add web --policy web.toml --passphrase-file key",
            "register a workload with its policy and the passphrase of its disk",
        ),
    ),
)
@click.argument("workload", metavar="WORKLOAD")
@click.option("--policy", metavar="FILE", type=click.Path(), help="Its policy (docs/formats/policy.md).")
@click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="The passphrase that is released, in FILE, or - for standard input.",
)
@click.option(
    "--resource",
    metavar="REPOSITORY/TYPE/TAG",
    help="The name by which guests ask for the passphrase.  [default: default/key/WORKLOAD]",
)
@access.access
@options.common
@click.pass_obj
def command(
    session: Session,
    workload: str,
    policy: str | None,
    passphrase_file: str | None,
    resource: str | None,
    url: str,
    token_file: str | None,
) -> int:
    """Register a workload, or give one that is there another policy or passphrase.

    Until it has both, nothing is released.
    """
    from haulout.brokers import broker_workload_add  # noqa: PLC0415 - loads the HTTP client
    from haulout.workload import read_passphrase  # noqa: PLC0415

    done = broker_workload_add(
        access.opened(session, url, token_file),
        workload,
        policy=policy,
        passphrase=None if passphrase_file is None else read_passphrase(passphrase_file),
        resource=resource,
        connections=session.connections(),
    )
    session.result("broker workload add", done.to_dict(), report.lines(done), brief=done.id)
    return 0
