"""``haulout machine``: local virtual machines made from published disks."""

from __future__ import annotations

from typing import Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verbs

VERBS: Final = {
    name: f"haulout.cli.machine.{name}"
    for name in (
        *("init", "start", "stop", "restart", "ssh", "cp", "list", "inspect", "set", "logs", "df", "rm", "clone"),
        *("export", "compact", "record", "update", "rollback"),
        *("autostart", "auto", "events"),
    )
} | {"import": "haulout.cli.machine.import_"}


@click.group(
    "machine",
    cls=Verbs,
    verbs=VERBS,
    short_help="Make and run local virtual machines.",
    examples=(
        Example("haulout machine init web registry.example.com/machines:5.0", "make a machine from a published disk"),
        Example("haulout machine start web", "start it, and wait until it answers"),
    ),
)
@options.common
def command() -> None:
    """Make and run local virtual machines.

    A machine has a system, made from a published disk, and a data disk, which stays when the system is replaced. While
    it runs, both of podman's sockets are on this host: podman.sock (rootless) and podman-root.sock.
    """
