"""Options that the verbs of ``haulout backport`` share."""

from __future__ import annotations

from pathlib import Path

import click

library = click.option(
    "--lib",
    type=click.Path(path_type=Path),
    metavar="REPO",
    default=Path(),
    help="The library's clone.  [default: the current folder]",
)
ledger = click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The ledger file; fix records are in fixes/ beside it.  [default: $HAULOUT_LEDGER, or ./backports.toml]",
)
main_branch = click.option(
    "--main", metavar="BRANCH", help="The branch that fixes come from.  [default: the remote's HEAD, or main]"
)
