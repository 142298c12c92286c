"""``haulout broker forecast``: who will be refused tomorrow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from haulout.cli import options
from haulout.cli.broker import access
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from haulout.brokers import Forecast
    from haulout.cli.session import Session

_NO: Final = 1
"""Exit code where a machine will be refused."""
_EARLY: Final = "early"
_MONTH: Final = 30


@click.command(
    "forecast",
    cls=Verb,
    short_help="Foretell which machines will be refused.",
    examples=(
        Example("haulout broker forecast --collateral early", "who is refused after Intel's next TCB recovery?"),
        Example("haulout broker forecast web --policy higher-floor.toml", "who is refused by a higher floor?"),
    ),
)
@click.argument("workloads", metavar="[WORKLOAD]...", nargs=-1)
@click.option(
    "--collateral",
    metavar="early|FILE",
    multiple=True,
    help='Judge by these documents of the vendor instead of recorded ones; "early" fetches from Intel what will be in '
    "force after its next TCB recovery.",
)
@click.option(
    "--policy", metavar="FILE", type=click.Path(), help="Judge by this policy instead of each workload's own."
)
@click.option("--at", metavar="TIME", type=access.MomentParam(ahead=True), help="Judge for this time.  [default: 1d]")
@click.option(
    "--since",
    metavar="TIME",
    type=access.MomentParam(),
    help="Leave out machines that did not attest since then.  [default: 30d]",
)
@click.option("--pcs", metavar="URL", help="Fetch Intel's documents from here, such as a PCCS.")
@access.access
@options.common
@click.pass_obj
def command(
    session: Session,
    workloads: tuple[str, ...],
    collateral: tuple[str, ...],
    policy: str | None,
    at: datetime | None,
    since: datetime | None,
    pcs: str | None,
    url: str,
    token_file: str | None,
) -> int:
    """Foretell which machines will be refused, which security version is too low, and what to update.

    The last evidence that each machine sent is verified anew, here, for tomorrow.

    Exit status is 1 if a machine that gets its key today will be refused.
    """
    from haulout.brokers import broker_forecast  # noqa: PLC0415 - loads the cryptography
    from haulout.tee import PCS  # noqa: PLC0415 - as above

    done = broker_forecast(
        access.opened(session, url, token_file),
        since or access.days(-_MONTH),
        at or access.days(1),
        workloads=workloads,
        policy=policy,
        collateral=[Path(one) for one in collateral if one != _EARLY],
        early=(pcs or PCS) if _EARLY in collateral else None,
        connections=session.connections(),
    )
    session.result("broker forecast", done.to_dict(), _lines(done), brief=f"{done.warnings} refused")
    return _NO if done.warnings else 0


def _lines(done: Forecast) -> Iterator[str]:
    number = len(done.outlooks)
    yield (
        f"of {number} {'machine' if number == 1 else 'machines'} that attested since {done.since}, "
        f"{done.warnings} will be refused at {done.at}"
    )
    for note in done.notes:
        yield f"  note: {note}"
    for one in done.outlooks:
        if not one.warns:
            continue
        yield f"  {one.recorded.workload}  {one.machine or 'unknown machine'}: {one.then.words} [{one.then.rule}]"
        for short in one.shortfalls:
            yield f"    {short}"
        if one.then.hint and not one.shortfalls:
            yield f"    hint: {one.then.hint}"
