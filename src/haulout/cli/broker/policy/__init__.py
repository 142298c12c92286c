"""``haulout broker policy``: which evidence gets a workload's key."""

from __future__ import annotations

from typing import Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verbs

VERBS: Final = {name: f"haulout.cli.broker.policy.{name}" for name in ("show", "set", "history", "check")}


@click.group(
    "policy",
    cls=Verbs,
    verbs=VERBS,
    short_help="Show, try and set policies of workloads.",
    examples=(
        Example("haulout broker policy check web new.toml --since 7d", "what would it have refused last week?"),
        Example("haulout broker policy set web new.toml", "put it into force"),
    ),
)
@options.common
def command() -> None:
    """Show, try and set the policies of workloads, as their owner (docs/formats/policy.md).

    HAULOUT_BROKER and HAULOUT_BROKER_TOKEN_FILE say which broker, and as whom.
    """
