"""``haulout machine list``: show all machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "list",
    cls=Verb,
    examples=(Example("haulout machine list", "show all machines and what they are doing"),),
)
@options.common
@click.pass_obj
def command(session: Session) -> None:
    """Show all machines and their states.

    Of a machine that does not run, it is said why it ended. A machine whose file is damaged is shown as broken; the
    others are not affected.
    """
    from haulout.machines import machine_list  # noqa: PLC0415 - loads what runs machines

    found = machine_list()
    width = max((len(each.name) for each in found), default=0)
    lines = [
        "  ".join(part for part in (f"{each.name:{width}}", f"{each.state:10}", common.remark(each)) if part).rstrip()
        for each in found
    ]
    document = {"machines": [each.to_dict() for each in found]}
    session.result("machine list", document, lines or ("there is no machine",), brief=[each.name for each in found])
