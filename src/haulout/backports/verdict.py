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


def judged(facts: Facts) -> State:
    """Return the state of a branch for one commit."""
    if not facts.introduced:
        return State.NOT_AFFECTED
    if facts.content is Content.SAME:
        return State.PRESENT
    if facts.standing:
        # The very commit that is on the branch applies again: its change was removed without a revert.
        return State.REVERTED if facts.own is Content.APPLIES else State.PRESENT
    if facts.undone:
        return State.NOT_AFFECTED if facts.content is Content.ABSENT else State.REVERTED
    return _BY_CONTENT[facts.content]


_BY_CONTENT: Final = {
    Content.SAME: State.PRESENT,
    Content.APPLIES: State.APPLIES,
    Content.CONFLICTS: State.CONFLICTS,
    Content.ABSENT: State.NOT_AFFECTED,
    Content.UNKNOWN: State.UNKNOWN,
}
_ORDER: Final = (Content.SAME, Content.APPLIES, Content.CONFLICTS, Content.UNKNOWN, Content.ABSENT)
_WORST: Final = (State.REVERTED, State.UNKNOWN, State.CONFLICTS, State.APPLIES)


def best(found: Sequence[Content]) -> Content:
    """Return the content that decides, of all variants': one that is there is enough."""
    return min(found, key=_ORDER.index) if found else Content.UNKNOWN


def joined(whole: Content | None, units: Sequence[State]) -> State:
    """Return the state of a branch for a series.

    Args:
        whole: the result of the series as one patch; None: it cannot be merged into one.
        units: each commit's state. A later commit of a series may change what an earlier one did, which then looks
            missing although all is there: so the whole counts first.
    """
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


def partial(units: Sequence[State]) -> Evidence | None:
    """Return the remark that only a part of a series is there, or None."""
    present = sum(state is State.PRESENT for state in units)
    return Evidence("content", f"{present} of {len(units)} commits are there") if 0 < present < len(units) else None
