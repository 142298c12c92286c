"""``haulout broker init``: make a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import params
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.cli.session import Session


@click.command(
    "init",
    cls=Verb,
    examples=(Example("haulout broker init --state broker --url https://127.0.0.1:8443", "make a broker"),),
)
@params.state
@click.option("--url", metavar="URL", required=True, help="Where guests and owners will reach it.")
@click.option(
    "--database",
    metavar="URL",
    help="sqlite:////path/of/a/file or postgresql://host/name.  [default: broker.db in the folder]",
)
@options.common
@click.pass_obj
def command(session: Session, folder: Path, url: str, database: str | None) -> int:
    """Make a broker: its folder, keys and tables. What is there stays.

    After an upgrade of haulout, it brings the tables up to date; stop all instances before.
    """
    from haulout.brokers import broker_init  # noqa: PLC0415 - loads the database

    made = broker_init(folder, url, database=database)
    lines = (
        f"{made.folder}: a broker for {made.url}",
        f"  keys         {made.keys}  (back this file up, apart from the database)",
        f"  certificate  {made.certificate}",
    )
    session.result("broker init", made.to_dict(), lines, brief=str(made.folder))
    return 0
