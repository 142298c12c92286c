"""``haulout broker import``: resources of Trustee."""

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
    "import",
    cls=Verb,
    examples=(
        Example("haulout broker import repository --workload web --state broker", "take over a repository of Trustee"),
    ),
)
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@params.state
@click.option("--workload", metavar="ID", required=True, help="Whose resources they become.")
@options.common
@click.pass_obj
def command(session: Session, source: Path, folder: Path, workload: str) -> int:
    """Take over the resources of a Trustee repository, REPOSITORY/TYPE/TAG below DIR: all of them, or none.

    The policy of the workload decides about all of them.
    """
    from haulout.brokers import broker_import  # noqa: PLC0415 - loads the database

    done = broker_import(folder, source, workload)
    session.result(
        "broker import",
        done.to_dict(),
        [f"{done.workload}: {len(done.resources)} resources", *(f"  {one}" for one in done.resources)],
        brief=list(done.resources),
    )
    return 0
