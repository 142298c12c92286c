"""``haulout machine auto``: update machines by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from haulout.cli.session import Session
    from haulout.machines import AutoMachine

_NO = 1
"""Exit code where something failed for one machine."""


@click.command(
    "auto",
    cls=Verb,
    examples=(
        Example("haulout machine auto enable", "look every quarter of an hour whether an update is due"),
        Example("haulout machine auto run --at-once web", "look for an update of a machine now"),
        Example("haulout machine auto status", "show what is due, and when"),
        Example("haulout machine auto disable", "update machines only when you say so"),
    ),
)
@click.argument(
    "action", metavar="enable|disable|run|status", type=click.Choice(("enable", "disable", "run", "status"))
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--fixes", type=click.Path(), metavar="FILE", help="Read in FILE what updates fix (docs/machines.md).")
@click.option("--at-once", is_flag=True, help="With run: look and fetch at once; windows hold for applying.")
@options.registry
@options.common
@click.pass_obj
def command(session: Session, action: str, names: tuple[str, ...], fixes: str | None, at_once: bool) -> int:
    """Update machines by themselves, as their policies say.

    A timer of systemd's user manager or a launchd agent does it: enable writes it, and run is what it starts. Each
    machine has a policy, a window and a minimum severity (machine set). It looks for updates at a moment of its own
    within its window, or every six hours; what was fetched is applied within the window while nobody uses the machine.

    Exit code 1: something failed for one machine; the others were not kept from theirs.
    """
    from haulout.machines import machine_auto, machine_auto_run  # noqa: PLC0415 - loads what runs machines

    if action != "run" and (names or at_once):
        raise UsageError(f"auto {action} is about all machines", hint="only auto run takes names and --at-once")
    if action == "run":
        with session.progress() as progress:
            done = machine_auto_run(
                names, fixes=fixes, at_once=at_once, connections=session.connections(), progress=progress
            )
        session.result("machine auto run", done.to_dict(), lines(done.machines), brief=[])
        return _NO if done.failed else 0
    enable = {"enable": True, "disable": False}.get(action)
    with session.progress() as progress:
        words = run_options(session.connection) if enable else ()
        found = machine_auto(enable=enable, fixes=fixes, options=words, progress=progress)
    text = "machines are updated by themselves" if found.enabled else "machines are updated only when you say so"
    first = [text, *([f"  by {found.path}"] if found.enabled else [])]
    if action == "enable" and not found.at_boot and found.path.suffix == ".timer":
        first.append("  while you are logged in; always: loginctl enable-linger")
    told = [*first, *(lines(found.machines) if action == "status" else [])]
    session.result(f"machine auto {action}", found.to_dict(), told, brief="enabled" if found.enabled else "disabled")
    return 0


def run_options(connection: Mapping[str, Any]) -> Iterator[str]:
    """Write how registries are to be reached as options of each run.

    Raises:
        UsageError: a file of certificates is not there.
    """
    for name, value in connection.items():
        match name:
            case "plain_http" | "insecure" if value:
                yield f"--{name.replace('_', '-')}"
            case "ca_file":
                if not Path(value).is_file():
                    raise UsageError(f"no such file: {value}", hint="it is to hold certificate authorities")
                yield from ("--ca-file", str(Path(value).absolute()))
            case "allowed_hosts":
                yield from (word for host in value for word in ("--allow-host", host))
            case "attempts":
                yield from ("--retries", str(value - 1))
            case "connect_seconds":
                yield from ("--timeout", str(value))
            case "on_bytes":
                yield from ("--limit-rate", str(int(value.rate)))


def lines(machines: Iterable[AutoMachine]) -> Iterator[str]:
    """Write what was done and what is due, for people."""
    for each in machines:
        when = f", {each.when:%Y-%m-%d %H:%M}" if each.when is not None else ""
        severity = f" ({each.severity})" if each.severity else ""
        yield f"{each.name}: {each.status}{severity}: {each.why}{when}"
