"""``haulout machine set``: change a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.machine import Forward, Mount


@click.command(
    "set",
    cls=Verb,
    examples=(
        Example("haulout machine set web --memory 4096", "give a machine 4 GiB of memory from its next start on"),
        Example("haulout machine set web --publish none", "forward no port any more"),
        Example(
            "haulout machine set web --update-policy apply --update-window 02:00-05:00 --min-severity high",
            "let machine auto fix bad vulnerabilities at night",
        ),
    ),
)
@common.name
@common.resources
@click.option(
    "--update-policy",
    type=click.Choice(("notify", "stage", "apply")),
    help="What machine auto does about an update: say so, fetch it, too, or apply it, too.",
)
@click.option("--update-window", metavar="HH:MM-HH:MM|none", help="Time of day in which it does so; none: at any time.")
@click.option(
    "--min-severity",
    type=click.Choice(("low", "medium", "high", "critical")),
    help="What an update has to fix to be fetched or applied by itself; low: it need not be known.",
)
@click.option("--pin/--no-pin", default=None, help="Keep the image until you name another one.")
@options.common
@click.pass_obj
def command(
    session: Session,
    name: str,
    cpus: int | None,
    memory: int | None,
    disk: int | None,
    mounts: tuple[Mount, ...] | None,
    forwards: tuple[Forward, ...] | None,
    ca: tuple[str, ...],
    proxy: str | None,
    update_policy: str | None,
    update_window: str | None,
    min_severity: str | None,
    pin: bool | None,
) -> None:
    """Change a machine, from its next start on; ports at once.

    What is not named stays as it is. The data disk can only grow. Mounts, ports and CA certificates that are given
    replace all that the machine had: --mount none, --publish none and --ca none remove them.
    """
    from haulout.machines import machine_set  # noqa: PLC0415 - loads what runs machines

    with session.progress() as progress:
        made = machine_set(
            name,
            cpus=cpus,
            memory=memory,
            disk=disk,
            mounts=mounts,
            forwards=forwards,
            ca=ca or None,
            proxy=proxy,
            update_policy=update_policy,
            update_window="" if update_window == "none" else update_window,
            min_severity=min_severity,
            pin=pin,
            progress=progress,
        )
    line = f"changed {name}" + (f"; restart it for that: haulout machine restart {name}" if made.running else "")
    session.result("machine set", made.to_dict(), (line,), brief=name)
