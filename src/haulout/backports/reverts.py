"""Which commits undo a fix, and whether it stands on a branch: the last word counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.backports.trailers import reverted, reverted_subject, same_commit, subject_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from haulout.backports.history import Walk
    from haulout.backports.model import Commit


@dataclass(frozen=True, slots=True)
class Undoing:
    """A revert: the commit, and what it reverts."""

    commit: Commit
    what: str
    level: int = 1
    """1 reverts the fix or a backport of it, 2 reverts such a revert, and so on."""


def undoings(
    walked: Iterable[Commit], of: Iterable[Commit], concerned: Callable[[Sequence[str]], Collection[str]] = tuple
) -> list[Undoing]:
    """Return the reverts of commits, and the reverts of these reverts, and so on.

    A revert names the commit it reverts, or only its subject.

    Args:
        walked: where to look.
        of: the fix and its backports.
        concerned: returns which of some commits touch the fix's files. Asked about those that name but a subject,
            which several commits may have.
    """
    noting = [
        (commit, said, None if subject is None else subject_key(subject))
        for commit in walked
        if "evert" in commit.message or "eapply" in commit.message
        for said, subject in [(reverted(commit.message), reverted_subject(commit.message))]
        if said or subject is not None
    ]
    touching = set(concerned([commit.oid for commit, said, _ in noting if not said])) if noting else set()
    found: list[Undoing] = []
    seen: set[str] = set()
    wanted = list(of)
    level = 0
    while wanted:
        level += 1
        seen |= {target.oid for target in wanted}
        keys = {subject_key(target.subject): target.oid for target in reversed(wanted)}
        following: list[Commit] = []
        for commit, said, key in noting:
            if commit.oid in seen:
                continue
            what = next((one.oid for one in wanted if any(same_commit(name, one.oid) for name in said)), None)
            if what is None and key in keys and commit.oid in touching:
                what = keys[key]
            if what is not None:
                found.append(Undoing(commit, what, level))
                following.append(commit)
        wanted = following
    return found


@dataclass(frozen=True, slots=True)
class Carried:
    """What history says about one branch."""

    standing: tuple[str, ...]
    """The fix and its backports that are on the branch, if they are not reverted there."""
    undone: tuple[Undoing, ...]
    """The revert on the branch that still holds."""


def carried(bit: int, walk: Walk, carriers: Sequence[str], reverts: Sequence[Undoing]) -> Carried:
    """Say whether a fix stands on a branch: what came last there, a carrier of it or a revert, decides. Pure.

    A revert that was picked from another branch names what it reverted there, and a backport may come again after its
    revert; only the order on the branch tells.

    Args:
        bit: the branch's in the masks of ``walk``.
        walk: which tips reach which commits.
        carriers: the fix and its backports.
        reverts: of :func:`undoings`.
    """
    here = tuple(oid for oid in carriers if walk.on(oid) & bit)
    if not here:
        return Carried((), ())
    last = min(walk.place(oid) for oid in here)
    holding: Undoing | None = None
    for undoing in reverts:
        place = walk.place(undoing.commit.oid)
        if walk.on(undoing.commit.oid) & bit and place < last:
            last = place
            holding = undoing if undoing.level % 2 else None
    return Carried((), (holding,)) if holding is not None else Carried(here, ())
