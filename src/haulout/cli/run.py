"""``haulout run``: run a command in a machine made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.params import NumberParam, ReferenceParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.oci import Reference


@click.command(
    "run",
    cls=Verb,
    examples=(
        Example(
            "haulout run --ephemeral registry.example.com/machines:5.0 -- uname -r",
            "run a command in a machine that is gone afterwards",
        ),
        Example(
            "haulout run --ephemeral --lazy registry.example.com/machines:5.0 -- uname -r",
            "the same, started before its disk is here",
        ),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.argument("words", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--name", metavar="NAME", help="Name of the machine.  [default: made from REF]")
@click.option("--ephemeral", is_flag=True, help="Remove the machine and its data when the command has ended.")
@click.option("--lazy", is_flag=True, help="Start before the disk is here, and fetch what is read.")
@click.option("--cpus", type=NumberParam(1, 256), metavar="N", help="Number of processors.")
@click.option(
    "--memory", type=common.AmountParam(64, 1 << 20, "M"), metavar="MIB", help="Memory in MiB, or such as 4G."
)
@common.user
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    reference: Reference,
    words: tuple[str, ...],
    name: str | None,
    ephemeral: bool,
    lazy: bool,
    cpus: int | None,
    memory: int | None,
    user: str,
) -> int:
    """Run a command, or a shell, in a machine made from REF.

    The machine is made and started if need be. Without --ephemeral it goes on running, and the next run uses it again.
    The exit code is that of the command.
    """
    from haulout.machines import run_machine  # noqa: PLC0415 - loads decompression and what runs machines

    with session.progress() as progress:
        return run_machine(
            reference,
            words,
            name=name,
            ephemeral=ephemeral,
            lazy=lazy,
            cpus=cpus,
            memory=memory,
            user=user,
            connections=session.connections(),
            progress=progress,
        )
