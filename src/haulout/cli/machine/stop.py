"""``haulout machine stop``: stop a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "stop",
    cls=Verb,
    examples=(
        Example("haulout machine stop web", "shut a machine down"),
        Example("haulout machine stop web --wait 0", "switch it off"),
    ),
)
@common.name
@common.stop_timeout
@options.common
@click.pass_obj
def command(session: Session, name: str, seconds: float) -> None:
    """Stop a machine.

    Its power button is pressed; if it does not shut down in time, it is switched off.
    """
    from haulout.machines import machine_stop  # noqa: PLC0415 - loads what runs machines

    with session.progress() as progress:
        stopped = machine_stop(name, seconds=seconds, progress=progress)
    line = f"stopped {name} ({stopped.reason})" if stopped.was_running else f"{name} was not running"
    session.result("machine stop", stopped.to_dict(), (line,), brief=name)
