"""``haulout backport status``: which branches have a fix."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.terminal import count
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.backports import Cell, Column, Matrix
    from haulout.cli.session import Session


@click.command(
    "status",
    cls=Verb,
    short_help="Show which branches have a fix.",
    examples=(
        Example("haulout backport status main~1 --lib common", "see which branches have a commit, in whatever form"),
        Example(
            "haulout backport status CVE-2024-0001 --lib common --branches 'crio-*' --report fixes.html",
            "the same of a fix record and some branches, with a page to show",
        ),
    ),
)
@click.argument("fixes", metavar="FIX...", nargs=-1, required=True)
@common.library
@click.option("--branches", metavar="GLOB", multiple=True, help="Only these branches; may be given several times.")
@click.option(
    "--supported",
    metavar="GLOB",
    multiple=True,
    help="The branches that must have it.  [default: as the ledger says; without one, all]",
)
@click.option("--remote", metavar="NAME", help="Whose branches count.  [default: upstream, origin, or the only one]")
@click.option(
    "--mainline",
    type=click.IntRange(1, 64),
    metavar="N",
    default=1,
    show_default=True,
    help="Of a fix that is a merge: the parent it went onto.",
)
@click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path),
    metavar="FILE",
    multiple=True,
    help="Write a report too: FILE.md or FILE.html.",
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

    Each branch is present, reverted, missing (and whether it applies), not affected, or unknown. The content decides:
    the fix, and every known backport of it, is merged onto each branch, in memory; trailers, patch-ids, authors and
    dates say which commits are backports. Nothing is written to the clone.

    Exit status is 1 where a supported branch lacks the fix, or may lack it.
    """
    from haulout.backports import Options, status  # noqa: PLC0415

    for path in reports:
        if path.suffix.lower() not in {".md", ".html", ".htm"}:
            raise UsageError(f"not a report this makes: {path}", hint="FILE.md or FILE.html")
    found = common.found_ledger(ledger)
    with session.progress() as progress:
        matrix = status(lib, fixes, Options(found, main, remote, branches, supported, mainline), progress=progress)
    for path in reports:
        _write(path, matrix)
    session.result(
        "backport status", document(matrix), lines(matrix), brief="complete" if matrix.complete else "incomplete"
    )
    return 0 if matrix.complete else 1


def _write(path: Path, matrix: Matrix) -> None:
    from haulout.backports import report, toml  # noqa: PLC0415

    toml.store(path, report.markdown(matrix) if path.suffix.lower() == ".md" else report.html(matrix))


def document(matrix: Matrix) -> dict[str, Any]:
    """Return the JSON."""
    return {
        "library": matrix.library,
        "complete": matrix.complete,
        "fixes": [
            {
                "fix": column.fix.name,
                "id": column.fix.record.id if column.fix.record else None,
                "aliases": list(column.fix.record.aliases) if column.fix.record else [],
                "title": column.fix.title,
                "commits": [*(commit.oid for commit in column.fix.commits), *column.fix.unknown],
                "backports": [
                    {"commit": one.commit, "of": one.unit, "signals": list(one.signals), "branches": list(one.branches)}
                    for one in column.known
                ],
                "branches": [_cell(cell) for cell in column.cells],
            }
            for column in matrix.columns
        ],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "branch": cell.branch.shown,
        "tip": cell.branch.tip or None,
        "state": str(cell.state),
        "supported": cell.supported,
        "consumers": list(cell.consumers),
        "pick": list(cell.pick),
        "evidence": [{"signal": one.signal, "text": one.text, "commit": one.commit} for one in cell.evidence],
    }


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
        yield f"{lacking} supported {'branch lacks' if lacking == 1 else 'branches lack'} it, or may"
