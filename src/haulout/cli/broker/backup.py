"""``haulout broker backup``: a copy of the database."""

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
    "backup",
    cls=Verb,
    examples=(Example("haulout broker backup broker.backup --state broker", "back the database up while it serves"),),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@params.state
@options.common
@click.pass_obj
def command(session: Session, file: Path, folder: Path) -> int:
    """Back the database up, as it is at one moment, into a new file.

    What is encrypted stays so: the file "keys" is not in it, and has to be backed up elsewhere.
    """
    from haulout.brokers import broker_backup  # noqa: PLC0415 - loads the database

    done = broker_backup(folder, file)
    session.result("broker backup", done.to_dict(), [f"{done.file}: {done.rows} rows"], brief=str(done.file))
    return 0
