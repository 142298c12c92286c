"""``haulout machine df``: show what machines take on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "df",
    cls=Verb,
    examples=(Example("haulout machine df", "show how much space each machine takes"),),
)
@options.common
@click.pass_obj
def command(session: Session) -> None:
    """Show how much space each machine takes.

    It shows what the machine changed in its system, its data, and its base image, which machines share.
    """
    from haulout.machines import machine_df  # noqa: PLC0415 - loads what runs machines

    found = machine_df()
    width = max((len(each.name) for each in found), default=0)
    lines = [
        f"{each.name:{width}}  system {size(each.disks.system)}, "
        f"data {size(each.disks.data)} of {size(each.disks.data_size)}, base {size(each.disks.base)}"
        for each in found
    ]
    session.result("machine df", {"machines": [each.to_dict() for each in found]}, lines or ("there is no machine",))
