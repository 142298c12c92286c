"""``haulout broker workload``: what a broker releases keys of."""

from __future__ import annotations

from typing import Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verbs

VERBS: Final = {name: f"haulout.cli.broker.workload.{name}" for name in ("add", "list", "show", "rm", "follow")}


@click.group(
    "workload",
    cls=Verbs,
    verbs=VERBS,
    short_help="Register workloads, with policies and keys.",
    examples=(
        Example("haulout broker workload add web --policy web.toml --passphrase-file key", "register a workload"),
        Example("haulout broker workload list", "list the workloads"),
    ),
)
@options.common
def command() -> None:
    """Register workloads at a broker, with their policies and keys, as their owner.

    HAULOUT_BROKER and HAULOUT_BROKER_TOKEN_FILE say which broker, and as whom.
    """
