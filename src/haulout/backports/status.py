"""Which branches have a fix: find its variants, try each on every branch, and judge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from haulout.backports import records
from haulout.backports.fix import resolve
from haulout.backports.ledger import load_ledger, path_of
from haulout.backports.model import Matrix, StrPath
from haulout.backports.naming import library_name
from haulout.backports.repository import matching, open_repository
from haulout.backports.support import Support
from haulout.backports.survey import Survey
from haulout.errors import NotFoundError
from haulout.progress import NullProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence


def status(  # noqa: PLR0913 - each is one word of the request
    lib: StrPath,
    fixes: Sequence[str],
    *,
    ledger: StrPath | None = None,
    main: str | None = None,
    remote: str | None = None,
    branches: Sequence[str] = (),
    supported: Sequence[str] = (),
    mainline: int = 1,
    reports: Sequence[StrPath] = (),
    progress: Progress | None = None,
) -> Matrix:
    """Find the state of every branch for each fix, with the evidence for it.

    Nothing is written to the clone, or fetched.

    Args:
        lib: the library's clone.
        fixes: commits, series or ids of records.
        ledger: the ledger, beside which the records are.
        main: the branch that fixes come from; by default the remote's HEAD, or ``main``.
        remote: whose branches count, besides the local ones; by default ``upstream``, ``origin``, or the only one.
        branches: globs of the branches to look at; by default all.
        supported: globs of the branches that must have the fix; by default those of the ledger, and without it all.
        mainline: of a fix that is a merge, the parent it was merged into, counted from 1.
        reports: files to write the result to, ``.md`` or ``.html``.
        progress: receives every fix.

    Raises:
        NotFoundError: there is no such clone, fix or branch.
        UsageError: a fix means several things, or a report is of another kind.
        HauloutError: the clone, the ledger or a record is broken.
    """
    if reports:
        from haulout.backports.report import check_report, write_report  # noqa: PLC0415 - only for reports
    for report in reports:
        check_report(report)
    book = path_of(ledger)
    repository = open_repository(lib)
    known = records.load_all(book)
    found = [resolve(repository, name, known, parent=mainline) for name in dict.fromkeys(fixes)]
    every = repository.branches(remote)
    rows = matching(every, branches)
    if not rows:
        what = f"no branch of {lib} matches {' '.join(branches)}" if branches else f"no branch in {lib}"
        raise NotFoundError(what, hint="fetch them first, or name another remote: --remote NAME")
    with repository.scratch_objects() as objects:
        entries = load_ledger(book) if book is not None else None
        tip = repository.mainline(main).tip
        name = library_name(repository, objects, tip, sure=entries is not None)
        survey = Survey(repository, objects, every, tip, mainline)
        support = Support(entries, name, supported)
        absent = support.absent({branch.name for branch in every}, branches)
        columns = []
        with (progress or NullProgress()).task("checking branches", len(found), unit="fixes") as task:
            for fix in found:
                column = survey.column(fix, rows, support)
                columns.append(replace(column, cells=(*column.cells, *absent)))
                task.advance(1)
    matrix = Matrix(name, tuple(columns))
    for report in reports:
        write_report(report, matrix)
    return matrix
