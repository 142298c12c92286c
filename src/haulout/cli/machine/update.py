"""``haulout machine update``: another system for a machine, kept if it proves itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.cli.session import Session
    from haulout.machines import UpdateCheck, UpdatedMachine


@click.command(
    "update",
    cls=Verb,
    short_help="Update a machine, or leave it as it was.",
    examples=(
        Example("haulout machine update web --check", "is there something newer?"),
        Example("haulout machine update web", "update; if the new system lacks what there was, it is undone"),
        Example("haulout machine update web --to registry.example.com/machines:5.1", "update to another version"),
    ),
)
@common.name
@click.option("--to", metavar="REF", help="Update to this disk.  [default: what the machine's reference leads to now]")
@click.option("--check", is_flag=True, help="Only say whether there is something newer, and what machine auto does.")
@click.option("--fixes", type=click.Path(), metavar="FILE", help="With --check: read in FILE what updates fix.")
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched and stopped.")
@click.option("--stage", is_flag=True, help="Only fetch the new system; the machine goes on.")
@click.option("--now", "when", flag_value="now", default="now", help="Switch at once.  [default]")
@click.option("--when-idle", "when", flag_value="idle", help="Wait until nobody uses the machine.")
@click.option("--window", metavar="HH:MM-HH:MM", help="Wait for this time of day.")
@click.option("--rehearse", is_flag=True, help="First start the new system beside it, with an empty data disk.")
@click.option("--force", is_flag=True, help="Also to an image that was undone before, or if the image is pinned.")
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    name: str,
    to: str | None,
    check: bool,
    fixes: str | None,
    dry_run: bool,
    stage: bool,
    when: str,
    window: str | None,
    rehearse: bool,
    force: bool,
) -> int:
    """Update a machine: fetch the new system, stop the old one, start the new one, and keep it if it proves itself.

    It has to boot and answer by ssh; sockets that answered, mounts that were there and containers that ran have to be
    there again; and the programs in the machine file (update.hooks) have to succeed. Otherwise the machine gets its
    old system and data back, and the image is remembered. Clients of the sockets wait meanwhile.

    Exit code 1: the update was undone.
    """
    from haulout.machines import machine_update, machine_update_check, read_fixes  # noqa: PLC0415 - loads what runs machines

    if fixes is not None and not check:
        raise UsageError("--fixes goes with --check", hint="machine auto run has --fixes, too")
    if check and (dry_run or stage or when != "now" or window or rehearse or force):
        raise UsageError("--check only looks", hint="leave out what is about applying")
    if check:
        with session.progress() as progress:
            found = machine_update_check(
                name,
                to=to,
                fixes=None if fixes is None else read_fixes(Path(fixes)),
                connections=session.connections(),
                progress=progress,
            )
        session.result("machine update", found.to_dict(), check_lines(found), brief=found.status)
        return 0
    with session.progress() as progress:
        done = machine_update(
            name,
            to=to,
            dry_run=dry_run,
            stage=stage,
            when_idle=when == "idle",
            window=window or "",
            rehearse=rehearse,
            force=force,
            connections=session.connections(),
            progress=progress,
        )
    session.result("machine update", done.to_dict(), lines(done), brief=done.status)
    return 1 if done.status == "undone" else 0


def check_lines(found: UpdateCheck) -> Iterator[str]:
    """Write what there is for a machine, for people."""
    if found.status == "current":
        yield f"{found.name} is up to date: {found.image}"
        return
    here = ", which is here" if found.status == "staged" else ""
    yield f"{found.name} can be updated to {found.candidate}{here}"
    if found.severity is not None:
        yield f"  it fixes {', '.join(found.fixes) or 'nothing that has a name'} ({found.severity})"
    if found.to_fetch is not None:
        yield f"  {size(found.to_fetch)} would be fetched"
    when = f", {found.decision.when:%Y-%m-%d %H:%M}" if found.decision.when is not None else ""
    yield f"  machine auto: {found.decision.why}{when}"


def lines(done: UpdatedMachine) -> Iterator[str]:
    """Write what became of an update, for people."""
    down = f", after {done.downtime:.1f} s" if done.downtime is not None else ""
    match done.status:
        case "current":
            yield f"{done.name} is up to date: {done.image}"
        case "planned":
            yield f"{done.name} would be updated to {done.candidate}"
            yield f"  {size(done.fetched)} would be fetched; {size(done.needed)} have to be free"
            yield f"  containers that would stop for a while: {', '.join(done.stops) or 'none'}"
        case "staged":
            yield f"{done.name}: {done.candidate} is here ({size(done.fetched)} fetched); the machine goes on"
        case "updated":
            yield f"{done.name} was updated{down}: {done.image}"
        case "rolled-back":
            yield f"{done.name} went back{down}: {done.image}"
        case _:
            yield f"{done.name} is as before, going to {done.candidate} was undone: {done.reason}"
    if done.reason and done.status == "planned":
        yield f"  it was undone on this machine before: {done.reason}"
