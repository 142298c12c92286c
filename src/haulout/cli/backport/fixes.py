"""``haulout backport fixes``: which fixes a release brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.backports import Delivered, FixesResult, Release
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
    help="OLD and NEW are a consumer's: compare what they pin of the library.",
)
@click.option("--module", metavar="PATH", help="The library's Go module.  [default: of its go.mod]")
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
    """List the fixes that NEW has and OLD has not: ids, package URLs, versions, for release notes and update metadata.

    Fixes that records describe are looked for by content; others count where a commit between speaks of a CVE, GHSA or
    GO identifier.

    Exit status is 1 where NEW has lost a fix that OLD has.
    """
    from haulout.backports import Options, fixes  # noqa: PLC0415

    with session.progress() as progress:
        found = fixes(
            lib,
            series,
            Options(ledger=common.found_ledger(ledger), main=main),
            consumer=consumer,
            module=module,
            progress=progress,
        )
    session.result("backport fixes", document(found), lines(found))
    return 1 if found.lost else 0


def document(found: FixesResult) -> dict[str, Any]:
    """Return the JSON."""
    return {
        "library": found.library,
        "old": _release(found.old),
        "new": _release(found.new),
        "relation": str(found.relation),
        "fixes": [_fix(one, found.new) for one in found.fixed],
        "lost": [_fix(one, found.new) for one in found.lost],
        "missing": [_fix(one, found.new) for one in found.missing],
    }


def _release(release: Release) -> dict[str, Any]:
    return {"name": release.name, "commit": release.commit, "version": release.version, "purl": release.purl}


def _fix(one: Delivered, new: Release) -> dict[str, Any]:
    return {
        "id": one.id,
        "aliases": list(one.aliases),
        "summary": one.summary,
        "purl": new.purl,
        "version": new.version,
        "commits": list(one.commits),
        "backports": list(one.backports),
        "old": str(one.old),
        "new": str(one.new),
        "recorded": one.recorded,
    }


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
        yield "no fix that was not there before"


def _related(found: FixesResult) -> Iterator[str]:
    old, new = found.old.version, found.new.version
    if found.relation == "older":
        turned = f"{found.new.name}..{found.old.name}"
        yield f"{new} is older than {old}: to see what that brought, turn them round: {turned}"
    if found.relation == "same":
        yield f"{found.old.name} and {found.new.name} are one commit of the library"
    if found.relation == "parted":
        yield f"{new} does not build on {old}: they parted at {str(found.parted)[:12]}"
    if found.relation == "unrelated":
        yield f"{new} does not build on {old}: they have no commit in common in this clone"
