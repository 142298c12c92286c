"""Pick fixes onto several branches: each on its own, so that a conflict on one holds up no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.backports.ledger import path_of
from haulout.backports.pick import Asked, begin, check_idle, pick_planned
from haulout.backports.plan import Plan, Wishes, judge
from haulout.backports.repository import matching
from haulout.documents import Document
from haulout.errors import HauloutError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.model import Fix, PickResult, StrPath
    from haulout.backports.repository import Branch, Repository
    from haulout.progress import Progress


@dataclass(frozen=True, slots=True)
class FailedPick(Document):
    """A branch onto which nothing could be picked, for another reason than a conflict."""

    json_members = ("branch", "reason", "hint")

    branch: str
    reason: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True, slots=True)
class PicksResult(Document):
    """What was picked onto several branches."""

    json_members = ("complete", "picks", "failed")

    picks: tuple[PickResult, ...]
    failed: tuple[FailedPick, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing conflicts, and nothing failed."""
        return not self.failed and not any(one.stop for one in self.picks)


def picks(  # noqa: PLR0913 - each is one word of the request
    lib: StrPath,
    fixes: Sequence[str],
    *,
    onto: Sequence[str] = (),
    missing: bool = False,
    supported: Sequence[str] = (),
    ledger: StrPath | None = None,
    direct: bool = False,
    mainline: int | None = None,
    record: str | None = None,
    signoff: bool = False,
    exact: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> PicksResult:
    """Pick fixes onto several branches, each into a new branch of its own.

    Args:
        lib: the library's clone.
        fixes: as for :func:`haulout.backports.pick`.
        onto: the branches, by name or glob.
        missing: all supported branches that lack a fix, but those that reverted it, or of which it is not known.
        supported: globs of the branches that must have the fixes; by default those of the ledger, and without it all.
        ledger: the ledger; the picks are added to its records.
        direct: move the branches themselves.
        mainline: pick a merge commit as one, by its changes against this parent.
        record: the id of the record to create, where none has the fix.
        signoff: add a ``Signed-off-by`` line.
        exact: pick no backport in the place of a commit that conflicts.
        force: pick also what is there.
        progress: receives every commit.

    Raises:
        NotFoundError: there is no such clone, branch or fix.
        UsageError: neither branches nor ``missing`` are given.
    """
    if not onto and not missing:
        raise UsageError("no branch to pick onto", hint="name branches, or all that lack it")
    asked = Asked(ledger, None, direct, mainline, record, signoff, Wishes(force, exact))
    repository, wanted = begin(lib, fixes, asked)
    branches = _branches(repository, onto)
    book = path_of(ledger) if missing else None
    plans = judge(repository, wanted, branches, asked.wishes, ledger=book, supported=supported, mainline=mainline)
    found: list[PickResult] = []
    failed: list[FailedPick] = []
    for plan in plans if onto else [one for one in plans if one.missing]:
        try:
            found.append(_pick(repository, plan, wanted, asked, progress))
        except HauloutError as error:
            failed.append(FailedPick(plan.branch.shown, error.message, error.hint, error.exit_code))
    return PicksResult(tuple(found), tuple(failed))


def _pick(
    repository: Repository, plan: Plan, wanted: Sequence[Fix], asked: Asked, progress: Progress | None
) -> PickResult:
    check_idle(repository, plan.branch, wanted, asked)
    return pick_planned(repository, plan, wanted, asked, progress)


def _branches(repository: Repository, onto: Sequence[str]) -> list[Branch]:
    """Return branches by name or glob; all without any, a local one before the remote's of the same name."""
    every = repository.branches()
    if not onto:
        local = {one.name for one in every if one.remote is None}
        return [one for one in every if one.remote is None or one.name not in local]
    found: dict[str, Branch] = {}
    for name in onto:
        # No branch has these in its name.
        some = matching(every, [name]) if set("*?[") & set(name) else [repository.branch(name)]
        if not some:
            raise NotFoundError(f"no branch of {repository.path} matches {name}")
        found |= {one.ref: one for one in some}
    return list(found.values())
