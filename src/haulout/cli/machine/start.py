"""``haulout machine start``: start a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.params import NumberParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "start",
    cls=Verb,
    examples=(
        Example("haulout machine start web", "start a machine, and wait until it answers"),
        Example("haulout machine start new --lazy", "start one before its disk is here"),
    ),
)
@common.name
@click.option(
    "--wait",
    "seconds",
    type=NumberParam(1, common.LONGEST_WAIT, float),
    metavar="SECONDS",
    help="Longest wait for the machine to boot.  [default: 300]",
)
@click.option("--no-connect", is_flag=True, help="Do not tell podman and docker of the machine's sockets.")
@click.option("--lazy", is_flag=True, help="Do not wait for a disk that is not here yet: fetch what is read.")
@options.common
@click.pass_obj
def command(session: Session, name: str, seconds: float | None, no_connect: bool, lazy: bool) -> None:
    """Start a machine, and return when it answers.

    If podman or docker are installed here, they get connections NAME (rootless) and NAME-root. A machine that does not
    come up is stopped again, and the last lines of its console are shown. Of a machine that was made with --lazy, the
    rest of the disk is fetched first; with --lazy here, too, it starts at once, and the rest comes when it has booted.
    """
    from haulout.machines import machine_start  # noqa: PLC0415 - loads what runs machines

    with session.progress() as progress:
        status = machine_start(name, seconds=seconds, connect=not no_connect, lazy=lazy, progress=progress)
    session.result("machine start", status.to_dict(), common.lines(status), brief=name)
