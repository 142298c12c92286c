"""``haulout machine inspect``: show one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "inspect",
    cls=Verb,
    examples=(Example("haulout machine inspect web --json", "print everything about a machine, as JSON"),),
)
@common.name
@options.common
@click.pass_obj
def command(session: Session, name: str) -> None:
    """Show one machine: its state, sockets, resources and image."""
    from haulout.machines import machine_inspect  # noqa: PLC0415 - loads what runs machines

    status = machine_inspect(name)
    session.result("machine inspect", status.to_dict(), common.lines(status), brief=status.state)
