"""``haulout machine compact``: give unused space back to this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "compact",
    cls=Verb,
    short_help="Give unused space back to this host.",
    examples=(Example("haulout machine compact web", "give back what was deleted in a machine"),),
)
@common.name
@options.common
@click.pass_obj
def command(session: Session, name: str) -> None:
    """Give the space that a machine does not use any more back to this host.

    This happens by itself whenever a machine stops, and weekly while it runs. A machine that runs trims its file
    systems. For one that was killed, this checks the data disk (e2fsck), and makes its free blocks holes.
    """
    from haulout.machines import machine_compact  # noqa: PLC0415 - loads what runs machines

    with session.progress() as progress:
        done = machine_compact(name, progress=progress)
    freed = max(0, done.before - done.after)
    line = f"{name} takes {size(done.after)}; {size(freed)} were given back"
    session.result("machine compact", done.to_dict(), (line,), brief=str(freed))
