"""``haulout prune``: delete old versions and give back their room."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.params import StringParam
from haulout.cli.terminal import count, size, table
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import RemovalResult
    from haulout.cli.session import Session

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class AgeParam(StringParam):
    """A length of time, such as ``30d``."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: ARG002
        """Parse it."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([0-9]{1,5})([hdw])", str(value))
        if found is None:
            raise UsageError(
                f"{str(value)[:40]!r} is not an age", hint="write a number of hours, days or weeks: 12h, 30d, 8w"
            )
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.command(
    "prune",
    cls=Verb,
    examples=(
        Example("haulout prune registry.example.com/machines --keep 5 --dry-run", "show what would go"),
        Example("haulout prune oci:machines --keep 2", "keep two versions of an image layout, and free the rest"),
        Example(
            "haulout prune registry.example.com/machines --keep 3 --older-than 90d",
            "delete what is older than 90 days, but keep three versions",
        ),
        Example("haulout prune oci:machines --untagged", "delete what no tag reaches"),
    ),
)
@click.argument("repository", metavar="REPO")
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Keep the newest N versions of each series.")
@click.option(
    "--older-than", type=AgeParam(), metavar="AGE", help="Delete only versions older than this (12h, 30d, 8w)."
)
@click.option("--untagged", is_flag=True, help="Also delete what no tag reaches.")
@options.dry_run
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    repository: str,
    keep: int | None,
    older_than: timedelta | None,
    untagged: bool,
    dry_run: bool,
) -> None:
    """Delete old versions, and what only they need.

    A version is a tag with a number; a series is what comes before the number, so that 5.1 and next-5.1 are counted
    apart, as are tags without a disk. Tags without a number, such as latest, always stay, and so does what any tag
    needs that stays: disks, deltas, signatures. A registry frees the room when it collects its garbage; a layout frees
    it at once. With --older-than, the age is what the version states; one that does not state it stays.
    """
    from haulout import prune  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        done = prune(
            repository,
            keep=keep,
            older_than=older_than,
            untagged=untagged,
            dry_run=dry_run,
            connections=session.connections(),
            progress=progress,
        )
    session.result("prune", done.to_dict(), lines(done), brief=[each.name for each in done.versions])


REFUSED = (
    "refused: the registry does not delete, or not with these credentials; without --dry-run, the exit code is 7 and "
    "nothing goes"
)


def lines(done: RemovalResult) -> Iterator[str]:
    """Write a removal for people."""
    removal = done.removal
    what = count(len(removal.versions), "version")
    helpers = f" and {count(len(removal.helper_tags), 'helper tag')}" if removal.helper_tags else ""
    yield f"{done.repository}: {'would delete' if done.dry_run else 'deleted'} {what}{helpers}"
    if removal.versions:
        rows = [
            (each.name, each.created.strftime("%Y-%m-%d") if each.created else "-", size(each.frees))
            for each in removal.versions
        ]
        yield from table(("version", "created", "size"), rows)
    if done.unknown_age:
        yield f"kept, since they state no date: {', '.join(done.unknown_age)}"
    yield f"kept: {', '.join(removal.kept) or 'no tag'}"
    yield f"in use: {size(removal.before)} before, {size(removal.after)} after"
    if done.freed is not None and not done.dry_run:
        yield f"freed: {size(done.freed)}"
    elif removal.manifests:
        when = "" if done.repository.startswith("oci:") else " when the registry collects its garbage"
        yield f"frees: {size(removal.frees)}{when}"
    if done.refused:
        yield REFUSED
