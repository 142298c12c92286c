"""``haulout machine rollback``: the system before the last update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.machine.update import lines
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "rollback",
    cls=Verb,
    short_help="Go back to the system before the last update.",
    examples=(
        Example("haulout machine rollback web", "the system goes back, the data stays"),
        Example("haulout machine rollback web --data", "the data goes back, too: what was written since is lost"),
    ),
)
@common.name
@click.option("--data", is_flag=True, help="Bring back the data from before the update, too.")
@options.common
@click.pass_obj
def command(session: Session, name: str, data: bool) -> int:
    """Go back to the system before the last update. The system that is left is not tried again by itself.

    If the update changed the format of podman's data, the system before may not read it: then --data is needed. The
    data from before an update is kept for 7 days, or until the next update; while one is staged, also longer.

    The system before has to boot and answer by ssh. If it does not, the machine stays as it was. A machine that does
    not run is started for that, and stopped again.

    Exit code 1: the system before did not come up.
    """
    from haulout.machines import machine_rollback  # noqa: PLC0415 - loads what runs machines

    with session.progress() as progress:
        done = machine_rollback(name, data=data, progress=progress)
    session.result("machine rollback", done.to_dict(), lines(done), brief=done.image)
    return 1 if done.status == "undone" else 0
