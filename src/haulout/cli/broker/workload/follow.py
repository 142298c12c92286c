"""``haulout broker workload follow``: take images from a signed list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import access
from haulout.cli.inspect import subject_of
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "follow",
    cls=Verb,
    short_help="Accept the images of a signed list.",
    examples=(
        Example("haulout broker workload follow web images.json", "accept the images of a signed list"),
        Example("haulout broker workload follow web oci:web:1.5", "take the list beside an image"),
    ),
)
@click.argument("workload", metavar="WORKLOAD")
@click.argument("source", metavar="FILE|REF", type=click.Path(readable=False))
@access.access
@options.common
@click.pass_obj
def command(session: Session, workload: str, source: str, url: str, token_file: str | None) -> int:
    """Accept the images of a signed list, besides those of the policy.

    The policy pins the keys that may sign the list, in [follow]. An older list than the one before is refused. Of
    several lists attached to REF, the one with the highest number counts. docs/formats/images.md has the format.
    """
    from haulout.brokers import broker_workload_follow  # noqa: PLC0415 - loads the HTTP client

    opened = access.opened(session, url, token_file)
    with session.progress() as progress:
        done = broker_workload_follow(
            opened, workload, subject_of(source), connections=session.connections(), progress=progress
        )
    listed = done.list
    lines = [f"{workload} follows list {listed.number}, with minimum epoch {listed.minimum_epoch}"]
    lines += [
        f"  epoch {one['epoch']}  {one['name'] or 'without a name'}{'  dropped' if one['dropped'] else ''}"
        for one in listed.named
    ]
    session.result("broker workload follow", done.to_dict(), lines, brief=str(listed.number))
    return 0
