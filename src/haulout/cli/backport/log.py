"""``haulout backport log``: where every commit of a branch comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.terminal import count
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.backports import LogResult
    from haulout.cli.session import Session


@click.command(
    "log",
    cls=Verb,
    short_help="Show where the commits of a branch come from.",
    examples=(Example("haulout backport log crio-1.30 --lib common", "show what a branch has on top of its tag"),),
)
@click.argument("branch", metavar="BRANCH")
@common.library
@click.option(
    "--base",
    metavar="TAG",
    help="Tag the branch started at.  [default: the one in the ledger, or the last tag before it]",
)
@click.option("--range-diff", is_flag=True, help="Show how each pick was adapted.")
@common.main_branch
@common.ledger
@options.common
@click.pass_obj
def command(
    session: Session, branch: str, lib: Path, base: str | None, range_diff: bool, main: str | None, ledger: Path | None
) -> int:
    """Show where every commit of BRANCH since its base tag comes from, and what happened to it upstream.

    The branch should be its tag and picks that are in fix records. Flagged are commits that are not upstream, merges of
    the main branch, series that are partly picked, sources that were reverted since, and CI and OWNERS files that still
    name another branch. Later changes of the same lines are shown.

    The exit code is 1 where something is flagged.
    """
    from haulout.backports import find_ledger, log  # noqa: PLC0415

    with session.progress() as progress:
        found = log(
            lib, branch, ledger=find_ledger(ledger), base=base, main=main, range_diff=range_diff, progress=progress
        )
    session.result("backport log", found.to_dict(), lines(found), brief="clean" if found.clean else "flagged")
    return 0 if found.clean else 1


def lines(found: LogResult) -> Iterator[str]:
    """Write it for people."""
    yield f"{found.branch.shown}: {found.base} and {count(len(found.lines), 'commit')}"
    for line in found.lines:
        yield f"{line.commit.oid[:12]}  {line.kind:<6}  {line.commit.subject}"
        origin = line.origin
        if origin is not None:
            how = "the same patch" if origin.equal else "adapted"
            via = f" via {origin.via[:12]}" if origin.via else ""
            source = " and ".join(oid[:12] for oid in origin.squashed or (origin.commit,))
            squashed = ", squashed" if origin.squashed else ""
            yield f"    from {source}{squashed}{via}, {how}; recognised by {', '.join(origin.signals)}"
        if line.records:
            yield f"    fixes {', '.join(line.records)}"
        if line.reverted_by:
            yield f"    reverted by {line.reverted_by[:12]}"
        for one in line.later:
            yield f"    later on {found.main.name}: {one.commit.oid[:12]} {one.how}: {one.commit.subject}"
        for flag in line.flags:
            yield f"  ! {flag}"
        for text in (line.range_diff or "").expandtabs().splitlines():
            yield f"    {text}"
    for flag in found.flags:
        yield f"! {flag}"
    for mention in found.mentions:
        yield f"! {mention.path}:{mention.line} names {mention.branch}: {mention.text}"
    yield "clean" if found.clean else "not clean"
