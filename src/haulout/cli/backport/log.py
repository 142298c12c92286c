"""``haulout backport log``: where every commit of a branch comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.terminal import count
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.backports import Line, LogResult
    from haulout.cli.session import Session


@click.command(
    "log",
    cls=Verb,
    short_help="Show where a branch's commits come from.",
    examples=(
        Example("haulout backport log crio-1.30 --lib common", "see what a branch has on top of its tag, and why"),
    ),
)
@click.argument("branch", metavar="BRANCH")
@common.library
@click.option("--base", metavar="TAG", help="Where it began.  [default: as the ledger says, or the last tag before it]")
@click.option("--range-diff", is_flag=True, help="Show what was adapted in each pick.")
@common.main_branch
@common.ledger
@options.common
@click.pass_obj
def command(
    session: Session,
    branch: str,
    lib: Path,
    base: str | None,
    range_diff: bool,
    main: str | None,
    ledger: Path | None,
) -> int:
    """Show where every commit of BRANCH since its base tag comes from, and what became of it upstream.

    The branch should be its tag and picks that fix records list. Flagged is what is not upstream, merges from there,
    series picked in part, sources that were reverted since, and CI and OWNERS files that still name another branch.
    Later changes of the same lines are pointed out.

    Exit status is 1 where something is flagged.
    """
    from haulout.backports import log  # noqa: PLC0415

    with session.progress() as progress:
        found = log(
            lib,
            branch,
            book=common.found_ledger(ledger),
            base=base,
            main=main,
            range_diff=range_diff,
            progress=progress,
        )
    session.result("backport log", document(found), lines(found), brief="clean" if found.clean else "flagged")
    return 0 if found.clean else 1


def document(found: LogResult) -> dict[str, Any]:
    """Return the JSON."""
    return {
        "branch": found.branch.shown,
        "tip": found.branch.tip,
        "base": found.base,
        "base_commit": found.base_commit,
        "main": found.main.shown,
        "clean": found.clean,
        "flags": list(found.flags),
        "commits": [_line(line) for line in found.lines],
        "mentions": [
            {"path": one.path, "line": one.line, "text": one.text, "branch": one.branch} for one in found.mentions
        ],
    }


def _line(line: Line) -> dict[str, Any]:
    origin = line.origin
    return {
        **common.commit_document(line.commit),
        "kind": str(line.kind),
        "source": None
        if origin is None
        else {
            "commit": origin.oid or origin.said,
            "squashed": list(origin.squashed),
            "via": origin.via,
            "known": origin.oid is not None,
            "signals": list(origin.signals),
            "equal": origin.equal,
            "upstream": origin.upstream,
        },
        "records": list(line.records),
        "later": [{**common.commit_document(one.commit), "how": one.how} for one in line.later],
        "reverted_by": line.reverted_by,
        "range_diff": line.range_diff,
        "flags": list(line.flags),
    }


def lines(found: LogResult) -> Iterator[str]:
    """Write it for people."""
    yield f"{found.branch.shown}: {found.base} and {count(len(found.lines), 'commit')}"
    for line in found.lines:
        yield f"{line.commit.oid[:12]}  {line.kind:<6}  {line.commit.subject}"
        origin = line.origin
        if origin is not None:
            how = "the same patch" if origin.equal else "adapted"
            via = f" by way of {origin.via[:12]}" if origin.via else ""
            source = " and ".join(oid[:12] for oid in origin.squashed or (origin.oid or origin.said,))
            squashed = ", made one" if origin.squashed else ""
            yield f"    from {source}{squashed}{via}, {how}; known by {', '.join(origin.signals)}"
        if line.records:
            yield f"    fixes {', '.join(line.records)}"
        if line.reverted_by:
            yield f"    taken back by {line.reverted_by[:12]}"
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
