"""The state of a fix at any two commits, as of branches that end there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.backports.model import State
from haulout.backports.probe import Prober
from haulout.backports.renames import Renames
from haulout.backports.repository import Branch
from haulout.backports.status import Support, Survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.model import Fix
    from haulout.backports.repository import Repository
    from haulout.backports.status import Options


def states_at(
    repository: Repository, fix: Fix, oids: Sequence[str], main: Branch, options: Options
) -> list[tuple[State, tuple[str, ...]]]:
    """Return, for each commit, the state of a fix there and the commits in its history that are the fix."""
    ends = [Branch(oid, oid, oid) for oid in oids]
    every = [*ends, *repository.branches(options.remote)]
    with repository.bench() as bench:
        survey = Survey(repository, bench, Prober(bench, Renames(repository, bench)), every, main.tip, options)
        column = survey.column(fix, ends, Support(None, "", ()))
    own = {commit.oid for commit in fix.commits}
    found = []
    for cell in column.cells:
        carriers = [
            one.commit
            for one in cell.evidence
            if one.commit is not None and one.signal not in {"content", "revert", "clone", "introduced-in"}
        ]
        found.append((cell.state, tuple(oid for oid in carriers if oid not in own or cell.state is State.PRESENT)))
    return found
