"""``haulout backport status``: which branches have a fix."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.terminal import count
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.backports import Column, Matrix
    from haulout.cli.session import Session


@click.command(
    "status",
    cls=Verb,
    short_help="Show which branches have a fix.",
    examples=(
        Example("haulout backport status main~1 --lib common", "show which branches have a commit or a backport of it"),
        Example(
            "haulout backport status CVE-2024-0001 --lib common --branches 'crio-*' --report fixes.html",
            "show the same for a fix record and some branches, and write a report",
        ),
    ),
)
@click.argument("fixes", metavar="FIX...", nargs=-1, required=True)
@common.library
@click.option("--branches", metavar="GLOB", multiple=True, help="Show only these branches; may be given several times.")
@click.option(
    "--supported",
    metavar="GLOB",
    multiple=True,
    help="Branches that must have the fix.  [default: those in the ledger; without one, all]",
)
@click.option("--remote", metavar="NAME", help="Take the branches of this remote.  [default: upstream, or origin]")
@click.option(
    "--mainline",
    type=click.IntRange(1, 64),
    metavar="N",
    default=1,
    show_default=True,
    help="Parent of a fix that is a merge commit, counted from 1.",
)
@click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path),
    metavar="FILE",
    multiple=True,
    help="Also write a report: FILE.md or FILE.html.",
)
@common.main_branch
@common.ledger
@options.common
@click.pass_obj
def command(
    session: Session,
    fixes: tuple[str, ...],
    lib: Path,
    branches: tuple[str, ...],
    supported: tuple[str, ...],
    remote: str | None,
    mainline: int,
    reports: tuple[Path, ...],
    main: str | None,
    ledger: Path | None,
) -> int:
    """Show which branches have a fix: a commit, a series A..B, or the id of a fix record.

    For each branch, the fix is present, reverted, missing (and applies or conflicts), not affected, or unknown. Content
    decides: the fix, and every known backport of it, is merged onto each branch in memory. Backports are recognised by
    trailers, patch-ids, authors and dates. Nothing is written to the clone.

    The exit code is 1 where a supported branch lacks the fix, or may lack it.
    """
    from haulout.backports import find_ledger, status  # noqa: PLC0415

    book = find_ledger(ledger)
    with session.progress() as progress:
        matrix = status(
            lib,
            fixes,
            ledger=book,
            main=main,
            remote=remote,
            branches=branches,
            supported=supported,
            mainline=mainline,
            reports=reports,
            progress=progress,
        )
    session.result(
        "backport status", matrix.to_dict(), lines(matrix), brief="complete" if matrix.complete else "incomplete"
    )
    return 0 if matrix.complete else 1


def lines(matrix: Matrix) -> Iterator[str]:
    """Write it for people."""
    for number, column in enumerate(matrix.columns):
        if number:
            yield ""
        yield f"{column.fix.name}: {column.fix.title}"
        yield from _column(column)


def _column(column: Column) -> Iterator[str]:
    width = max(len(cell.branch.shown) for cell in column.cells)
    states = max(len(cell.state) for cell in column.cells)
    for cell in column.cells:
        mark = "!" if cell.lacking else " "
        served = f" (for {', '.join(cell.consumers)})" if cell.consumers else ""
        why = "; ".join(one.text for one in cell.evidence)
        yield f"{mark} {cell.branch.shown:<{width}}  {cell.state:<{states}}  {why}{served}".rstrip()
    counted = Counter(cell.state for cell in column.cells)
    lacking = sum(cell.lacking for cell in column.cells)
    sums = "; ".join(f"{number} {state}" for state, number in counted.most_common())
    yield f"{count(len(column.cells), 'branch', 'branches')}: {sums}"
    if lacking:
        yield f"{lacking} supported {'branch lacks' if lacking == 1 else 'branches lack'} it, or may lack it"
