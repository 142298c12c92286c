"""``haulout cache prune``: remove what is of no use any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.terminal import count, size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import CachePruneResult
    from haulout.cli.session import Session


@click.command(
    "prune",
    cls=Verb,
    examples=(
        Example("haulout cache prune --partials --dry-run", "show what would go, leftovers of pulls included"),
        Example("haulout cache prune --all", "empty the cache"),
    ),
)
@click.option("--all", "everything", is_flag=True, help="Remove all notes and tables; the next updates fetch more.")
@click.option("--partials", is_flag=True, help="Also remove partial files of interrupted pulls.")
@options.dry_run
@options.common
@click.pass_obj
def command(session: Session, everything: bool, partials: bool, dry_run: bool) -> None:
    """Remove notes of files that are gone, and unused tables.

    Partial files that a pull is writing are left alone.
    """
    from haulout import cache_prune  # noqa: PLC0415 - keeps the help quick

    done = cache_prune(everything=everything, partials=partials, dry_run=dry_run)
    session.result("cache prune", done.to_dict(), lines(done), brief=[str(each.path) for each in done.removed])


def lines(done: CachePruneResult) -> Iterator[str]:
    """Write what went for people."""
    for each in done.removed:
        yield f"{each.path}, {size(each.size)}"
    yield f"{'would remove' if done.dry_run else 'removed'} {count(len(done.removed), 'file')}, {size(done.freed)}"
