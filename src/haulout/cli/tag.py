"""``haulout tag``: give a version further names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ReferenceParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import TagResult
    from haulout.cli.session import Session
    from haulout.oci import Reference


@click.command(
    "tag",
    cls=Verb,
    examples=(
        Example("haulout tag registry.example.com/machines:5.1 5 latest", "let 5 and latest name what 5.1 names"),
        Example("haulout tag oci:machines:5.1 stable --dry-run", "show what would change"),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.argument("names", metavar="NEW...", nargs=-1, required=True)
@options.dry_run
@options.registry
@options.common
@click.pass_obj
def command(session: Session, reference: Reference, names: tuple[str, ...], dry_run: bool) -> None:
    """Give REF further tags.

    The tags are written in the same repository or layout. A tag that names something else is moved.
    """
    from haulout import tag  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        done = tag(reference, names, dry_run=dry_run, connections=session.connections(), progress=progress)
    session.result("tag", done.to_dict(), lines(done), brief=str(done.pinned))


def lines(done: TagResult) -> Iterator[str]:
    """Write what was named for people."""
    for each in done.tags:
        was = {"new": "new", "present": "already named it", "moved": f"moved from {each.before}"}[each.status]
        yield f"{'would tag' if done.dry_run else 'tagged'} {each.tag}: {was}"
    yield str(done.pinned)
