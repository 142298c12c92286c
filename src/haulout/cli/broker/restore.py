"""``haulout broker restore``: a database from its backup."""

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
    "restore",
    cls=Verb,
    examples=(Example("haulout broker restore broker.backup --state new", "fill a new broker from a backup"),),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@params.state
@options.common
@click.pass_obj
def command(session: Session, file: Path, folder: Path) -> int:
    """Restore a backup into a new broker, of SQLite or PostgreSQL: all of it, or nothing.

    Make the broker first (haulout broker init), and put the file "keys" of the old one into its folder.
    """
    from haulout.brokers import broker_restore  # noqa: PLC0415 - loads the database

    done = broker_restore(folder, file)
    session.result("broker restore", done.to_dict(), [f"{done.file}: {done.rows} rows restored"], brief=str(done.file))
    return 0
