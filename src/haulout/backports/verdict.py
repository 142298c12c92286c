"""Decide the state of a branch for a commit, and for a whole fix. Pure: the one place where evidence is weighed.

Content decides where it can. History decides where content cannot: the fix is there and the code around it has changed
since, or the objects to compare are not in this clone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.backports.model import Content, Evidence, State

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was found about one commit on one branch."""

    content: Content
    """The best result of any variant."""
    own: Content | None
    """The result of the commit that carries the fix on this branch; None: no commit does."""
    standing: bool
    """A commit that carries the fix is on the branch, and not reverted by message."""
    undone: bool
    """A commit that carries the fix is on the branch, and a revert of it."""
    introduced: bool = True
    """The branch has the fault that the fix removes, or that is unknown."""
    opposed: bool = False
    """A later commit on the branch does the very opposite of the one that carries the fix."""
    kept: bool = False
    """What the fix brought is on the branch, in another place or indented anew."""
    part: bool = False
    """A commit on the branch does a part of the fix."""


def judged(facts: Facts) -> State:
    """Return the state of a branch for one commit."""
    if not facts.introduced:
        return State.NOT_AFFECTED
    if facts.content is Content.SAME:
        return State.PRESENT
    if facts.standing:
        if facts.own is not Content.APPLIES:
            return State.PRESENT
        # The very commit that is on the branch applies again: its change was moved, or removed.
        if facts.opposed:
            return State.REVERTED
        return State.PRESENT if facts.kept else State.UNKNOWN
    if facts.undone:
        return State.NOT_AFFECTED if facts.content is Content.ABSENT else State.REVERTED
    if facts.part and facts.content is Content.CONFLICTS:
        return State.PARTLY
    return _BY_CONTENT[facts.content]


def doubtful(facts: Facts) -> bool:
    """Whether a commit that carries the fix is on the branch and would apply again: what became of it?"""
    return facts.content is not Content.SAME and facts.standing and facts.own is Content.APPLIES


_BY_CONTENT: Final = {
    Content.SAME: State.PRESENT,
    Content.APPLIES: State.APPLIES,
    Content.CONFLICTS: State.CONFLICTS,
    Content.ABSENT: State.NOT_AFFECTED,
    Content.UNKNOWN: State.UNKNOWN,
}
_ORDER: Final = (Content.SAME, Content.APPLIES, Content.CONFLICTS, Content.UNKNOWN, Content.ABSENT)
_WORST: Final = (State.REVERTED, State.UNKNOWN, State.CONFLICTS, State.PARTLY, State.APPLIES)
_ANSWERED: Final = (State.PRESENT, State.REVERTED, State.UNKNOWN)


def best(found: Sequence[Content]) -> Content:
    """Return the content that decides, of all variants': one that is there is enough."""
    return min(found, key=_ORDER.index) if found else Content.UNKNOWN


def joined(whole: Content | None, units: Sequence[State], merge: State | None = None) -> State:
    """Return the state of a branch for a series.

    Args:
        whole: the result of the series as one patch; None: it cannot be merged into one.
        units: each commit's state. A later commit of a series may change what an earlier one did, which then looks
            missing although all is there: so the whole counts first.
        merge: the state for the merge by which the series came in, which may have been picked or reverted as one.
    """
    if merge in _ANSWERED:
        return merge
    if len(units) == 1:
        return units[0]
    if whole is Content.SAME and State.NOT_AFFECTED not in units:
        return State.PRESENT
    counted = [state for state in units if state is not State.NOT_AFFECTED]
    if not counted:
        return State.NOT_AFFECTED
    if State.REVERTED in counted:
        return State.REVERTED
    if all(state is State.PRESENT for state in counted):
        return State.PRESENT
    if whole is not None and State.PRESENT not in counted and whole in {Content.APPLIES, Content.CONFLICTS}:
        return _BY_CONTENT[whole]
    return next(state for state in _WORST if state in counted)


def settled(state: State, *, clean: bool | None, changed: bool, part: bool) -> State:
    """Return the state of a branch that lacks a fix, now that it was tried what a pick of it comes to.

    Args:
        state: as judged by files.
        clean: all of it would be picked; None: that is not known, as objects are missing.
        changed: a pick changes something.
        part: a part of the fix is there.
    """
    if clean is None:
        return State.UNKNOWN
    if clean:
        return State.APPLIES if changed else State.PRESENT
    return State.PARTLY if part or state is State.PARTLY else State.CONFLICTS


def partial(units: Sequence[State]) -> Evidence | None:
    """Return the remark that only a part of a series is there, or None."""
    present = sum(state is State.PRESENT for state in units)
    return Evidence("content", f"{present} of {len(units)} commits are there") if 0 < present < len(units) else None
