"""``haulout broker export``: resources in clear."""

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
    "export",
    cls=Verb,
    examples=(
        Example("haulout broker export resources --workload web --state broker", "write the resources for Trustee"),
    ),
)
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@params.state
@click.option("--workload", metavar="ID", required=True, help="Whose resources they are.")
@options.common
@click.pass_obj
def command(session: Session, target: Path, folder: Path, workload: str) -> int:
    """Write the resources of a workload in clear into a new folder, as a Trustee repository has them.

    Each is a row of the audit log.
    """
    from haulout.brokers import broker_export  # noqa: PLC0415 - loads the database

    done = broker_export(folder, target, workload)
    session.result(
        "broker export",
        done.to_dict(),
        [f"{done.workload}: {len(done.resources)} resources", *(f"  {one}" for one in done.resources)],
        brief=list(done.resources),
    )
    return 0
