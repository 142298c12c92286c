"""``haulout cache``: what is kept on this machine to make pulls cheap."""

from __future__ import annotations

from typing import Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verbs

VERBS: Final = {"info": "haulout.cli.cache.info", "prune": "haulout.cli.cache.prune"}


@click.group(
    "cache",
    cls=Verbs,
    verbs=VERBS,
    examples=(
        Example("haulout cache info", "show where the cache is, and what it holds"),
        Example("haulout cache prune --partials", "remove what is of no use any more, and leftovers of pulls"),
    ),
)
@options.common
def command() -> None:
    """Show and clean the cache.

    It holds notes of pulled files and tables of contents, never disks: removing any of it costs speed only.
    """
