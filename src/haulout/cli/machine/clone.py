"""``haulout machine clone``: copy a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "clone",
    cls=Verb,
    examples=(Example("haulout machine clone web test", "copy a machine that does not run, with its data"),),
)
@common.name
@click.argument("new_name", metavar="NEW")
@options.common
@click.pass_obj
def command(session: Session, name: str, new_name: str) -> None:
    """Copy a machine that does not run: its system, and its data.

    On file systems that can share storage (Btrfs, XFS), the copy takes no room at first. Forwarded ports
    are not copied.
    """
    from haulout.machines import machine_clone  # noqa: PLC0415 - loads what runs machines

    made = machine_clone(name, new_name)
    session.result("machine clone", made.to_dict(), (f"copied {name} to {new_name}",), brief=new_name)
