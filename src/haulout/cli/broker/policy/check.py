"""``haulout broker policy check``: what a policy would have decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import access
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from haulout.brokers import PolicyCheck
    from haulout.cli.session import Session

_NO = 1
"""Exit code where the policy would have refused what was allowed."""
_WEEK = 7


@click.command(
    "check",
    cls=Verb,
    examples=(Example("haulout broker policy check web new.toml --since 7d", "what would it have refused last week?"),),
)
@click.argument("workload", metavar="WORKLOAD")
@click.argument("file", metavar="FILE", type=click.Path())
@click.option(
    "--since", metavar="TIME", type=access.MomentParam(), help="From this time on, or 30m, 12h, 7d ago.  [default: 7d]"
)
@access.access
@options.common
@click.pass_obj
def command(
    session: Session, workload: str, file: str, since: datetime | None, url: str, token_file: str | None
) -> int:
    """Try a policy on the evidence that guests sent. Nothing is changed at the broker.

    Each recorded attempt to get the workload's key is verified anew, here, by the policy in FILE, for the time when it
    was made.

    Exit status is 1 if the policy would have refused an attempt that was allowed.
    """
    from haulout.brokers import broker_policy_check  # noqa: PLC0415 - loads the cryptography

    done = broker_policy_check(
        access.opened(session, url, token_file),
        workload,
        file,
        since or access.days(-_WEEK),
        connections=session.connections(),
    )
    session.result("broker policy check", done.to_dict(), _lines(done), brief=f"{done.refused} refused")
    return _NO if done.refused else 0


def _lines(done: PolicyCheck) -> Iterator[str]:
    number = len(done.attempts)
    yield f"{number} {'attempt' if number == 1 else 'attempts'} since {done.since}"
    yield f"  would refuse what was allowed: {done.refused}"
    yield f"  would allow what was refused:  {done.allowed}"
    for one in done.attempts:
        if one.changed:
            word = "would be allowed" if one.decision.allowed else f"would be REFUSED: {one.decision.words}"
            was = "" if one.recorded.rule == "allowed" else f", was refused [{one.recorded.rule}]"
            machine = one.machine[:24] + ("…" if len(one.machine) > 24 else "")
            name = machine or one.recorded.client or "unknown machine"
            yield f"  {one.recorded.stamp}  {name}  {word} [{one.decision.rule}]{was}"
