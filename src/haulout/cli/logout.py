"""``haulout logout``: remove the credentials of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "logout",
    cls=Verb,
    examples=(Example("haulout logout registry.example.com", "remove the credentials"),),
)
@click.argument("host", metavar="HOST")
@options.common
@click.pass_obj
def command(session: Session, host: str) -> None:
    """Remove the credentials stored for the registry HOST."""
    from haulout.registry import logout  # noqa: PLC0415

    forgotten = logout(host)
    line = f"logged out of {host}" if forgotten else f"no credentials are stored for {host}"
    session.result("logout", {"host": host, "forgotten": forgotten}, (line,), brief="")
