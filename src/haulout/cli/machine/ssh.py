"""``haulout machine ssh``: run a command in a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "ssh",
    cls=Verb,
    examples=(
        Example("haulout machine ssh web", "get a shell in a machine"),
        Example("haulout machine ssh web -- uname -r", "run a command in it"),
    ),
)
@common.name
@click.argument("words", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
@common.user
@options.common
@click.pass_obj
def command(session: Session, name: str, words: tuple[str, ...], user: str) -> int:  # noqa: ARG001 - the output is the command's
    """Run a command in a machine, or a shell.

    The exit code is that of the command, or 255 if ssh failed.
    """
    from haulout.machines import machine_ssh  # noqa: PLC0415 - loads what runs machines

    return machine_ssh(name, words, user=user)
