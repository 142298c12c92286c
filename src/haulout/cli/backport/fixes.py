"""``haulout backport fixes``: which fixes a release brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.backports import FixesResult
    from haulout.cli.session import Session


@click.command(
    "fixes",
    cls=Verb,
    short_help="List the fixes that a release brings.",
    examples=(Example("haulout backport fixes v0.61.0..v0.62.0 --lib common", "list the fixes between two releases"),),
)
@click.argument("series", metavar="OLD..NEW")
@common.library
@click.option(
    "--consumer",
    type=click.Path(path_type=Path),
    metavar="REPO",
    help="Take OLD and NEW from this consumer: compare the versions of the library that they pin.",
)
@click.option("--module", metavar="PATH", help="The library's Go module.  [default: the one in its go.mod]")
@common.main_branch
@common.ledger
@options.common
@click.pass_obj
def command(
    session: Session,
    series: str,
    lib: Path,
    consumer: Path | None,
    module: str | None,
    main: str | None,
    ledger: Path | None,
) -> int:
    """List the fixes that NEW has and OLD lacks: ids, package URLs, versions, for release notes and update metadata.

    Fixes that have a record are found by content; others count where a commit in between says that it fixes a CVE, GHSA
    or GO identifier: in its subject, in a trailer, or in a line of its own. What is only mentioned is listed apart.

    The exit code is 1 where NEW lacks a fix that OLD has.
    """
    from haulout.backports import find_ledger, fixes  # noqa: PLC0415

    with session.progress() as progress:
        found = fixes(
            lib, series, ledger=find_ledger(ledger), main=main, consumer=consumer, module=module, progress=progress
        )
    session.result("backport fixes", found.to_dict(), lines(found))
    return 1 if found.lost else 0


def lines(found: FixesResult) -> Iterator[str]:
    """Write it for people."""
    yield f"{found.library}: {found.old.version} to {found.new.version}"
    yield found.new.purl
    yield from _related(found)
    for title, fixes in (("fixed", found.fixed), ("lost", found.lost), ("still missing", found.missing)):
        for one in fixes:
            also = f" ({', '.join(one.aliases)})" if one.aliases else ""
            yield f"{title}: {one.id}{also}: {one.summary}"
    if not found.fixed:
        yield "no new fixes"
    for other in found.mentioned:
        yield f"mentioned: {other.id} by {', '.join(oid[:12] for oid in other.commits)}, which may not fix it"


def _related(found: FixesResult) -> Iterator[str]:
    old, new = found.old.version, found.new.version
    if found.relation == "older":
        reverse = f"{found.new.name}..{found.old.name}"
        yield f"{new} is older than {old}: for the fixes of {old}, write {reverse}"
    if found.relation == "same":
        yield f"{found.old.name} and {found.new.name} are the same commit of the library"
    if found.relation == "parted":
        yield f"{new} does not build on {old}: they diverged at {str(found.parted)[:12]}"
    if found.relation == "unrelated":
        yield f"{new} does not build on {old}: they have no commit in common in this clone"
