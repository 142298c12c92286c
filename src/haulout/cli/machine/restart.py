"""``haulout machine restart``: stop a machine and start it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "restart",
    cls=Verb,
    examples=(Example("haulout machine restart web", "restart a machine; clients of its sockets wait"),),
)
@common.name
@common.stop_timeout
@options.common
@click.pass_obj
def command(session: Session, name: str, seconds: float) -> None:
    """Stop a machine and start it again.

    Its sockets stay: clients that connect meanwhile wait until the machine answers. A machine that could not start
    again, as where a mount is gone, is left running.
    """
    from haulout.machines import machine_restart  # noqa: PLC0415 - loads what runs machines

    with session.progress() as progress:
        status = machine_restart(name, seconds=seconds, progress=progress)
    session.result("machine restart", status.to_dict(), common.lines(status), brief=name)
