"""``haulout machine logs``: show the console of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.terminal import neutral
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "logs",
    cls=Verb,
    examples=(Example("haulout machine logs web", "show what a machine wrote to its console"),),
)
@common.name
@click.option("-f", "--follow", is_flag=True, help="Go on until the machine ends.")
@options.common
@click.pass_obj
def command(session: Session, name: str, follow: bool) -> None:  # noqa: ARG001 - the console is printed as it is
    """Show the console of a machine.

    What it wrote there since its last start; what an earlier start wrote is in console.log.1 beside it.
    """
    from haulout.machines import machine_logs  # noqa: PLC0415 - loads what runs machines

    rest = ""
    for piece in machine_logs(name, follow=follow):
        *whole, rest = (rest + piece.replace("\r", "")).split("\n")
        for line in whole:
            click.echo(neutral(line))
    if rest:
        click.echo(neutral(rest))
