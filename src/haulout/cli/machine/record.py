"""``haulout machine record``: find out what a boot reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "record",
    cls=Verb,
    short_help="Record what a boot reads of its disk.",
    examples=(Example("haulout machine record web --push", "publish what a boot of web's disk reads"),),
)
@common.name
@click.option("--push", is_flag=True, help="Attach the trace to the disk in its registry, for lazy starts anywhere.")
@options.registry
@options.common
@click.pass_obj
def command(session: Session, name: str, push: bool) -> None:
    """Boot the disk of a machine once more, and write down which parts of it are read, in order.

    A machine that is gone afterwards is booted for it; NAME itself is left alone. A lazy start (init --lazy) fetches
    what such a trace names before the guest asks for it.
    """
    from haulout.machines import machine_record  # noqa: PLC0415 - loads what runs machines

    with session.progress() as progress:
        done = machine_record(name, push=push, connections=session.connections(), progress=progress)
    lines = [f"a boot of {name} reads {size(done.size)} of its disk, in {done.ranges} ranges: {done.path}"]
    if done.manifest is not None:
        lines.append(f"  attached to {done.reference}")
    session.result("machine record", done.to_dict(), lines, brief=str(done.path))
