"""``haulout cache info``: where the cache is, and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.terminal import count, size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import CacheReport
    from haulout.cli.session import Session


@click.command(
    "info",
    cls=Verb,
    examples=(
        Example("haulout cache info", "show where the cache is, and what it holds"),
        Example("haulout cache info --json", "the same for programs"),
    ),
)
@options.common
@click.pass_obj
def command(session: Session) -> None:
    """Show where the cache is, its size, and leftovers of pulls.

    The folder is haulout in $XDG_CACHE_HOME, or in ~/.cache. Leftovers are partial files of interrupted pulls, beside
    their targets; the same pull resumes them.
    """
    from haulout import cache_info  # noqa: PLC0415 - keeps the help quick

    found = cache_info()
    session.result("cache info", found.to_dict(), lines(found), brief=str(found.folder))


def lines(found: CacheReport) -> Iterator[str]:
    """Write the cache for people."""
    yield str(found.folder)
    for each in found.folders:
        yield f"  {each.name}: {count(each.files, 'file')}, {size(each.size)} ({each.purpose})"
    for left in found.leftovers:
        yield f"leftover: {left.path}, {size(left.size)}"
