"""What is picked onto which branch: read off the very judgement that ``status`` shows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from haulout.backports.fix import of_commit
from haulout.backports.ledger import load_ledger
from haulout.backports.model import Evidence, Fix, State
from haulout.backports.naming import library_name
from haulout.backports.repository import Branch, Repository, open_repository
from haulout.backports.support import Support
from haulout.backports.survey import Survey
from haulout.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from haulout.backports.model import Cell, Column

_MISSING: Final = (State.APPLIES, State.CONFLICTS, State.PARTLY)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be picked besides what a branch lacks."""

    force: bool = False
    """Pick also what is there."""
    exact: bool = False
    """Pick no backport in the place of a commit that conflicts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is picked onto one branch."""

    branch: Branch
    sources: tuple[str, ...]
    present: tuple[str, ...]
    """Commits that are there already, or do not concern the branch."""
    cells: tuple[Cell, ...]
    """The judgement on each fix."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """Backports that are picked in the place of commits, and these commits."""
    fixes: tuple[Fix, ...] = ()
    """What is picked: of a merge that conflicts as one, the commits that it brought."""

    @property
    def missing(self) -> bool:
        """Whether the branch must have one of the fixes, lacks it, and did not revert it."""
        return any(cell.supported and cell.state in _MISSING for cell in self.cells)


def planned(branch: Branch, fixes: Sequence[Fix], cells: Sequence[Cell], wishes: Wishes) -> Plan:
    """Return what is picked onto a branch. Pure."""
    sources: list[str] = []
    present: list[str] = []
    instead: dict[str, str] = {}
    for fix, cell in zip(fixes, cells, strict=True):
        left = fix.oids if wishes.force else cell.left
        present += [oid for oid in fix.oids if oid not in left]
        chosen = cell.pick if cell.pick and not (wishes.exact or wishes.force) else left
        sources += chosen
        instead |= {one: of for one, of in zip(chosen, left, strict=True) if one != of}
    return Plan(
        branch, tuple(dict.fromkeys(sources)), tuple(dict.fromkeys(present)), tuple(cells), instead, tuple(fixes)
    )


def without(cell: Cell, there: Mapping[str, Cell]) -> Cell:
    """Return a cell of a fix that is picked by its merges, without those that are there as the commits they brought.

    Pure; ``there`` has the cells of these merges, by the id of the merge.
    """
    pairs = [(of, one) for of, one in zip(cell.left, cell.pick or cell.left, strict=True) if of not in there]
    if len(pairs) == len(cell.left):
        return cell
    left, pick = tuple(of for of, _ in pairs), tuple(one for _, one in pairs) if cell.pick else ()
    if left:
        return replace(cell, left=left, pick=pick)
    (last, *_) = there.values()
    return replace(cell, state=last.state, evidence=last.evidence, left=(), pick=())


def _of_merges(
    survey: Survey,
    repository: Repository,
    column: Column,
    branches: Sequence[Branch],
    support: Support,
    *,
    singly: bool,
) -> list[tuple[Fix, Cell]]:
    """Judge merges also as ``status`` does, by the commits that they brought, on each branch.

    What is there so is not picked again; where one merge conflicts and these commits apply, they are picked.
    """
    there: dict[str, dict[str, Cell]] = {branch.ref: {} for branch in branches}
    instead: dict[str, tuple[Fix, Cell]] = {}
    for commit in column.fix.commits:
        split = of_commit(repository, commit.oid, commit, survey.mainline)
        if split.whole is not None:
            for cell in survey.column(split, branches, support).cells:
                if cell.state in {State.PRESENT, State.NOT_AFFECTED}:
                    there[cell.branch.ref][commit.oid] = cell
                elif singly and cell.pick and len(column.fix.commits) == 1:
                    text = f"the merge {commit.oid[:10]} conflicts as one, the commits that it brought apply"
                    why = (Evidence("content", text, commit.oid), *cell.evidence)
                    instead[cell.branch.ref] = replace(split, name=column.fix.name), replace(cell, evidence=why)
    return [
        instead[cell.branch.ref]
        if cell.branch.ref in instead and cell.left and not cell.pick
        else (column.fix, without(cell, there[cell.branch.ref]))
        for cell in column.cells
    ]


def judge(
    repository: Repository,
    fixes: Sequence[Fix],
    branches: Sequence[Branch],
    wishes: Wishes,
    *,
    ledger: Path | None = None,
    supported: Sequence[str] = (),
    mainline: int | None = None,
) -> list[Plan]:
    """Judge branches for fixes, and plan what is picked onto each. Nothing is written, or fetched."""
    here = open_repository(repository.path)
    every = [*branches, *(one for one in here.branches() if one.ref not in {each.ref for each in branches})]
    try:
        main = here.mainline().tip
    except NotFoundError:
        # It only says where looking for copies may stop.
        main = branches[0].tip
    with here.scratch_objects() as objects:
        entries = load_ledger(ledger) if ledger is not None and ledger.exists() else None
        name = library_name(here, objects, main, sure=False)
        survey = Survey(here, objects, every, main, mainline or 1)
        support = Support(entries, name, supported)
        columns = [survey.column(fix, branches, support) for fix in fixes]
        rows = [[(column.fix, cell) for cell in column.cells] for column in columns]
        if mainline is not None:
            # Where git is told another parent than the first, it takes no commits that have only one.
            singly = not (wishes.exact or wishes.force) and (mainline == 1 or len(fixes) == 1)
            rows = [_of_merges(survey, here, column, branches, support, singly=singly) for column in columns]
    return [
        planned(branch, [fix for fix, _ in some], [cell for _, cell in some], wishes)
        for branch, *some in zip(branches, *rows, strict=True)
    ]
