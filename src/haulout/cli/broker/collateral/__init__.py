"""``haulout broker collateral``: certificates and collateral of vendors."""

from __future__ import annotations

from typing import Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verbs

VERBS: Final = {
    "fetch": "haulout.cli.broker.collateral.fetch",
    "import": "haulout.cli.broker.collateral.import_",
    "list": "haulout.cli.broker.collateral.list",
}


@click.group(
    "collateral",
    cls=Verbs,
    verbs=VERBS,
    short_help="Keep certificates and collateral of vendors at hand.",
    examples=(
        Example("haulout broker collateral fetch quote.bin --early", "fetch what verifying this quote takes"),
        Example("haulout broker collateral import other/collateral", "take over what another broker fetched"),
        Example("haulout broker collateral list", "show what is there, and until when it is valid"),
    ),
)
@options.common
def command() -> None:
    """Keep what AMD and Intel publish about their processors at hand.

    A broker fetches it by itself. Where it has no connection, serve with --offline, fetch elsewhere, and import.
    """
