"""``haulout machine cp``: copy files into a machine or out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "cp",
    cls=Verb,
    examples=(
        Example("haulout machine cp notes.txt web:/tmp/", "copy a file into a machine"),
        Example("haulout machine cp web:/etc/os-release .", "copy a file out of it"),
    ),
)
@click.argument("source", metavar="SOURCE", type=common.SideParam())
@click.argument("target", metavar="TARGET", type=common.SideParam())
@common.user
@options.common
@click.pass_obj
def command(session: Session, source: str, target: str, user: str) -> int:
    """Copy a file or a directory into a machine or out of it.

    One of SOURCE and TARGET is NAME:PATH, a path in a machine. As with scp, a SOURCE there may be a pattern, such as
    'web:/tmp/*.log'.
    """
    from haulout.machines import machine_cp  # noqa: PLC0415 - loads what runs machines

    code = machine_cp(source, target, user=user)
    if not code:
        session.result("machine cp", {"source": source, "target": target}, (), brief="")
    return code
