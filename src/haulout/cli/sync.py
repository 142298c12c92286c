"""``haulout sync``: copy many tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.terminal import count, duration, size
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import SyncResult
    from haulout.cli.session import Session


@click.command(
    "sync",
    cls=Verb,
    examples=(
        Example(
            "haulout sync registry.example.com/machines registry.example.com/mirror/machines --include '5.*'",
            "copy every version of series 5, and later only what changed",
        ),
        Example(
            "haulout sync registry.example.com/machines oci-archive:machines.tar --exclude '*-rc*' --dry-run",
            "see what one file with all versions would hold",
        ),
    ),
)
@click.argument("source", metavar="[SRC]", required=False)
@click.argument("destination", metavar="[DST]", required=False)
@click.option("--include", metavar="PATTERN", multiple=True, help="Copy only tags that match, as in 5.*. Repeatable.")
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Leave out tags that match. Repeatable.")
@click.option(
    "--file",
    "file",
    type=click.Path(readable=False),
    metavar="FILE",
    help="Read sources, destinations and patterns from [[sync]] tables of this TOML file.",
)
@click.option("--keep-going", is_flag=True, help="Go on with other tags after an error.")
@options.copying
@options.common
@click.pass_obj
def command(
    session: Session,
    source: str | None,
    destination: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    file: str | None,
    keep_going: bool,
    no_referrers: bool,
    dry_run: bool,
    jobs: int | None,
) -> int:
    """Copy the tags of SRC to DST, with all that is attached.

    SRC and DST are repositories, image layouts (oci:DIR) or archives (oci-archive:FILE), without a tag. Tags that are
    the same in both are passed over, those that tools keep for their own use are left out, and nothing is deleted.
    """
    from haulout import SyncRule, read_sync_file, sync  # noqa: PLC0415 - loads the HTTP client

    if file is not None:
        if source or include or exclude:
            raise UsageError("--file has its own sources and patterns", hint="leave out SRC, DST, --include, --exclude")
        rules = read_sync_file(file)
    elif source is None or destination is None:
        raise UsageError("SRC or DST is missing", hint="name both, or --file FILE")
    else:
        rules = (SyncRule(source, destination, include, exclude),)
    with session.progress() as progress:
        done = sync(
            rules,
            referrers=not no_referrers,
            keep_going=keep_going,
            dry_run=dry_run,
            connections=session.connections(),
            progress=progress,
            jobs=jobs,
        )
    session.result("sync", done.to_dict(), lines(done))
    return done.failures[0].exit_code if done.failures else 0


def lines(done: SyncResult) -> Iterator[str]:
    """Write a synchronisation for people."""
    for each in done.tags:
        if each.status == "failed":
            yield f"failed: {each.source}: {each.error}"
        elif each.status == "copied":
            what = "would copy" if done.dry_run else "copied"
            yield f"{what} {each.source} to {each.destination} ({size(each.missing.size)})"
    same = sum(each.status == "unchanged" for each in done.tags)
    yield f"{count(len(done.tags), 'tag')}, {same} unchanged ({duration(done.seconds)})"
