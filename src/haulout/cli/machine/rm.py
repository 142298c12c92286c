"""``haulout machine rm``: remove a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "rm",
    cls=Verb,
    examples=(
        Example("haulout machine rm web", "remove a machine, but keep its data"),
        Example("haulout machine rm web --data", "remove it with its data"),
    ),
)
@common.name
@click.option("--data", is_flag=True, help="Remove its data disk, too: all containers, images and volumes.")
@click.option("--force", is_flag=True, help="Stop it first, if it runs.")
@options.common
@click.pass_obj
def command(session: Session, name: str, data: bool, force: bool) -> None:
    """Remove a machine.

    Its data disk is kept, unless --data is given: a machine made later under the same name has it again. Base images
    that no machine needs any more are removed, too. What is removed is named.
    """
    from haulout.machines import machine_rm  # noqa: PLC0415 - loads what runs machines

    gone = machine_rm(name, data=data, force=force)
    lines = (
        f"removed machine {name}",
        *(f"  removed {path}" for path in gone.removed),
        *(f"  kept {path}" for path in gone.kept),
    )
    session.result("machine rm", gone.to_dict(), lines, brief=name)
