"""``haulout broker``: release keys to genuine confidential hardware."""

from __future__ import annotations

from typing import Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verbs

VERBS: Final = {
    name: f"haulout.cli.broker.{name}" for name in ("init", "owner", "serve", "rotate", "backup", "restore", "export")
} | {"import": "haulout.cli.broker.import_"}


@click.group(
    "broker",
    cls=Verbs,
    verbs=VERBS,
    short_help="Release keys to genuine confidential hardware.",
    examples=(
        Example("haulout broker init --state broker --url https://127.0.0.1:8443", "make a broker"),
        Example("haulout broker owner alice --state broker --token-out alice.token", "add an owner of workloads"),
        Example("haulout broker serve --state broker", "serve until it is told to end"),
    ),
)
@options.common
def command() -> None:
    """Serve a key broker, and manage it on the machine that it runs on.

    Guests attest by Trustee's protocol 0.4.0. Owners manage their workloads over HTTPS: docs/broker.md.
    """
