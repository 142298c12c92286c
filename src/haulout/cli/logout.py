"""``haulout logout``: forget the credentials of a registry."""

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
    examples=(Example("haulout logout registry.example.com", "forget the password"),),
)
@click.argument("host", metavar="HOST")
@options.common
@click.pass_obj
def command(session: Session, host: str) -> None:
    """Forget the credentials kept for the registry HOST."""
    from haulout.registry import logout  # noqa: PLC0415

    forgotten = logout(host)
    told = f"logged out of {host}" if forgotten else f"there was nothing to forget about {host}"
    session.result("logout", {"host": host, "forgotten": forgotten}, (told,), brief="")
