"""``haulout machine autostart``: start a machine at login."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "autostart",
    cls=Verb,
    examples=(
        Example("haulout machine autostart enable web", "start a machine whenever you log in"),
        Example("haulout machine autostart disable web", "start it only when you ask for it"),
    ),
)
@click.argument("action", metavar="enable|disable|status", type=click.Choice(("enable", "disable", "status")))
@common.name
@options.common
@click.pass_obj
def command(session: Session, action: str, name: str) -> None:
    """Start a machine when you log in, or say whether it does.

    A unit of systemd's user manager does it, or a launchd agent on macOS. With loginctl enable-linger, your session
    begins when this host boots, and the machine with it.
    """
    from haulout.machines import machine_autostart  # noqa: PLC0415 - loads what runs machines

    found = machine_autostart(name, enable={"enable": True, "disable": False}.get(action))
    when = "when this host boots" if found.at_boot else "when you log in" if found.enabled else "only when you start it"
    lines = [f"{name} starts {when}"]
    if found.enabled:
        lines.append(f"  by {found.path}")
    if action == "enable" and not found.at_boot and found.path.suffix == ".service":
        lines.append("  to start it when this host boots: loginctl enable-linger")
    session.result("machine autostart", found.to_dict(), lines, brief="enabled" if found.enabled else "disabled")
