"""``haulout machine events``: what happened to machines."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.params import StringParam, spelling
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from haulout.cli.session import Session

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SinceParam(StringParam):
    """A point in time, or how long ago it was."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse it."""
        from datetime import UTC, datetime, timedelta  # noqa: PLC0415

        if ago := re.fullmatch(r"(\d{1,6})([smhd])", str(value)):
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        try:
            return datetime.fromisoformat(str(value)).astimezone()
        except (ValueError, OverflowError):
            raise UsageError(
                f"{spelling(param, ctx)} takes a time, not {str(value)[:80]!r}",
                hint="for example 2026-01-31T08:00:00Z, 2026-01-31, or 30m, 12h, 7d ago",
            ) from None


@click.command(
    "events",
    cls=Verb,
    examples=(
        Example("haulout machine events --since 7d", "show what happened in the last week"),
        Example("haulout machine events web --json", "print what happened to one machine, one JSON object a line"),
    ),
)
@click.argument("names", metavar="[NAME]...", nargs=-1, type=common.NameParam())
@click.option("--since", type=SinceParam(), metavar="TIME", help="Leave out what was before: a time, or 30m, 12h, 7d.")
@click.option("-f", "--follow", is_flag=True, help="Go on, and show what happens, until Ctrl-C.")
@options.common
@click.pass_obj
def command(session: Session, names: tuple[str, ...], since: datetime | None, follow: bool) -> None:
    """Show what happened to machines.

    Machines are created, cloned, set, starting, started (or degraded: a socket is missing, or a mount is lost),
    stopped, crashed and removed. With --follow, machines that are made later are shown, too.
    """
    from haulout.machines import machine_events  # noqa: PLC0415 - loads what runs machines

    event = None
    for event in machine_events(names, since=since, follow=follow):
        said = ", ".join(f"{key.replace('_', ' ')} {_said(value)}" for key, value in event.data.items())
        at = event.time.astimezone().isoformat(" ", "seconds")
        line = f"{at}  {event.machine}  {event.kind}" + (f": {said}" if said else "")
        session.result("machine events", event.to_dict(), (line,))
        sys.stdout.flush()
    if event is None and not session.quiet:
        click.echo("there is no such event", err=True)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{key}={_said(each)}" for key, each in value.items())
    return " ".join(map(_said, value)) or "none" if isinstance(value, list) else str(value)
