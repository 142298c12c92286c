"""Put the evidence for a state into words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.backports.attributes import UNION, driver
from haulout.backports.model import Content, Evidence, State
from haulout.backports.probe import Answer, Tried

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.model import Cell, Commit
    from haulout.backports.recognise import Candidate
    from haulout.backports.reverts import Carried
    from haulout.backports.simulation import Simulated
    from haulout.backports.variants import Unit, Variant

_SHORT: Final = 10
_FILES: Final = 4
_SINCE: Final[dict[tuple[State, Content | None], str]] = {
    (State.PRESENT, Content.CONFLICTS): "the code around it has changed since",
    (State.PRESENT, Content.APPLIES): "what it brought is in another place now",
    (State.UNKNOWN, Content.APPLIES): "what it brought is not found, and no commit reverts it",
}
"""What became of a fix that a commit on the branch carries."""


def short(oid: str) -> str:
    """Return an abbreviated id."""
    return oid[:_SHORT]


def listed(names: Sequence[str], most: int = _FILES) -> str:
    """Return names with commas, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def evidence(
    unit: Unit,
    state: State,
    deciding: Sequence[tuple[Variant, Tried]],
    history: Carried,
    opposite: str | None = None,
) -> tuple[Evidence, ...]:
    """Return what was found on one branch, the decisive first.

    Args:
        unit: the commit.
        state: what was judged.
        deciding: the variants that were decisive.
        history: what the branch's history says.
        opposite: a commit of the branch that does the opposite of the one that carries the fix.
    """
    found = [_content(variant, tried, len(deciding)) for variant, tried in deciding[:1]]
    if not deciding:
        found.append(Evidence("clone", f"not everything that {short(unit.commit.oid)} changes is in this clone"))
    for _, tried in deciding[:1]:
        if tried.moved:
            found += [Evidence("content", f"{old} is {new} here") for old, new in tried.moved.items()]
        absent = tried.where(Answer.ABSENT)
        if absent and tried.content is not Content.ABSENT:
            found.append(Evidence("content", f"the branch does not have {listed(absent)}"))
        found += [Evidence("attribute", _ruled(path, how)) for path, how in tried.ruled.items()]
        if tried.line_ends:
            found.append(
                Evidence("line-ends", "only line ends (CR LF) differ: make them alike first, in a commit of its own")
            )
    for oid in history.standing:
        found.append(_carrier(unit, oid))
    for undoing in history.undone:
        found.append(
            Evidence("revert", f"{short(undoing.commit.oid)} reverts {short(undoing.what)}", undoing.commit.oid)
        )
    if opposite is not None:
        found.append(Evidence("revert", f"{short(opposite)} does the opposite, without saying so", opposite))
    content = deciding[0][1].content if deciding else None
    since = _SINCE.get((state, content)) if history.standing else None
    if since is not None:
        found.append(Evidence("content", since))
    return tuple(found)


def left_out(part: Candidate, missing: Sequence[str]) -> Evidence:
    """Say that a commit does a part of a fix, and what it leaves out."""
    without = f", without {listed(missing)}" if missing else ""
    return Evidence(part.signals[0], f"{short(part.commit.oid)} is a part of it{without}", part.commit.oid)


def attempted(state: State, cell: Cell, done: Simulated, commits: Sequence[Commit]) -> tuple[Evidence, ...]:
    """Return the evidence for a branch onto which picks were tried.

    Args:
        state: what was found now.
        cell: as judged by files.
        done: what picks of the fix's own commits came to.
        commits: of the fix.
    """
    if state is State.APPLIES:
        if cell.state is State.APPLIES and any(one.commit in cell.pick for one in cell.evidence):
            return cell.evidence
        names = " and ".join(short(oid) for oid in cell.pick[:_FILES])
        rest = tuple(
            one
            for one in cell.evidence
            if one.signal != "content" or not (" conflicts in " in one.text or " applies" in one.text)
        )
        return (Evidence("content", f"{names} appl{'ies' if len(cell.pick) == 1 else 'y'}", cell.pick[0]), *rest)
    if done.stopped is None:
        return cell.evidence
    oid = done.stopped.commits[0]
    if cell.state is State.APPLIES or not any(" conflicts in " in one.text for one in cell.evidence):
        after = "" if len(commits) < 2 or oid == commits[0].oid else ", after those before it"
        text = f"{short(oid)} conflicts in {listed(done.conflicts)}{after}"
        rest = tuple(one for one in cell.evidence if " applies" not in one.text)
        return (Evidence("content", text, oid), *rest)
    return cell.evidence


def _ruled(path: str, how: str) -> str:
    name = driver(how)
    if name is not None:
        return f"a pick runs the merge driver {name} on {path}, with possibly another result"
    if how == UNION:
        return f"{path} is merged by union, by its attributes"
    return f"{path} is not merged line by line, by its attributes"


def _carrier(unit: Unit, oid: str) -> Evidence:
    signals = unit.signals(oid)
    if signals == ("ancestor",):
        return Evidence("ancestor", f"{short(oid)} itself is in its history", oid)
    return Evidence(signals[0] if signals else "record", f"{short(oid)} is a backport of it: {', '.join(signals)}", oid)


def _content(variant: Variant, tried: Tried, variants: int) -> Evidence:
    oid = variant.commits[0]
    name = short(oid)
    if tried.content is Content.SAME:
        return Evidence("content", f"merging {name} would change nothing", oid)
    if tried.content is Content.APPLIES:
        there = tried.where(Answer.SAME)
        partly = f"; already in {listed(there)}" if there else ""
        return Evidence("content", f"{name} applies{partly}", oid)
    if tried.content is Content.CONFLICTS:
        also = f", as does every other variant ({variants} in all)" if variants > 1 else ""
        return Evidence(
            "content", f"{name} conflicts in {listed(tried.where(Answer.CONFLICT))}{also}", variant.commits[0]
        )
    if tried.content is Content.ABSENT:
        return Evidence(
            "content", f"the branch has none of the files: {listed(tried.where(Answer.ABSENT))}", variant.commits[0]
        )
    return Evidence("clone", f"not all files of {name} are in this clone", oid)
