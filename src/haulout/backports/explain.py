"""Put into words what speaks for a state. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.backports.attributes import UNION, driver
from haulout.backports.model import Content, Evidence, State
from haulout.backports.probe import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.probe import Tried
    from haulout.backports.recognise import Carried
    from haulout.backports.variants import Form, Unit

_SHORT: Final = 10
_FILES: Final = 4


def short(oid: str) -> str:
    """Return an id as people read it."""
    return oid[:_SHORT]


def listed(names: Sequence[str], most: int = _FILES) -> str:
    """Return names with commas, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def evidence(unit: Unit, state: State, deciding: Sequence[tuple[Form, Tried]], said: Carried) -> tuple[Evidence, ...]:
    """Say what was found on one branch, the decisive first."""
    found = [_content(form, tried, len(deciding)) for form, tried in deciding[:1]]
    if not deciding:
        found.append(Evidence("clone", f"what {short(unit.commit.oid)} changes is not all in this clone"))
    for _, tried in deciding[:1]:
        if tried.moved:
            found += [Evidence("content", f"{old} is {new} here") for old, new in tried.moved.items()]
        absent = tried.where(Answer.ABSENT)
        if absent and tried.content is not Content.ABSENT:
            found.append(Evidence("content", f"without {listed(absent)}, which it does not have"))
        found += [Evidence("attribute", _ruled(path, how)) for path, how in tried.ruled.items()]
        if tried.line_ends:
            found.append(Evidence("content", "only line ends (CR LF) are in the way"))
    for oid in said.standing:
        found.append(_carrier(unit, oid))
    for undoing in said.undone:
        found.append(
            Evidence("revert", f"{short(undoing.commit.oid)} reverts {short(undoing.what)}", undoing.commit.oid)
        )
    if state is State.PRESENT and said.standing and deciding and deciding[0][1].content is Content.CONFLICTS:
        found.append(Evidence("content", "the code around it has changed since"))
    if state is State.REVERTED and not said.undone:
        found.append(Evidence("revert", "no commit says so, but what it changed is as before"))
    return tuple(found)


def _ruled(path: str, how: str) -> str:
    name = driver(how)
    if name is not None:
        return f"picking runs the merge driver {name} on {path}, which may decide otherwise"
    if how == UNION:
        return f"{path} is merged by union, as its attributes say"
    return f"{path} is not merged line by line, as its attributes say"


def _carrier(unit: Unit, oid: str) -> Evidence:
    signals = unit.signals(oid)
    if signals == ("ancestor",):
        return Evidence("ancestor", f"{short(oid)} itself is in its history", oid)
    return Evidence(signals[0] if signals else "record", f"{short(oid)} is it: {', '.join(signals)}", oid)


def _content(form: Form, tried: Tried, forms: int) -> Evidence:
    name = short(form.commits[0])
    if tried.content is Content.SAME:
        return Evidence("content", f"merging {name} would change nothing", form.commits[0])
    if tried.content is Content.APPLIES:
        there = tried.where(Answer.SAME)
        partly = f"; {listed(there)} as after it already" if there else ""
        return Evidence("content", f"{name} applies{partly}", form.commits[0])
    if tried.content is Content.CONFLICTS:
        also = f", and so does every other form ({forms} in all)" if forms > 1 else ""
        return Evidence("content", f"{name} conflicts in {listed(tried.where(Answer.CONFLICT))}{also}", form.commits[0])
    if tried.content is Content.ABSENT:
        return Evidence("content", f"it has none of the files: {listed(tried.where(Answer.ABSENT))}", form.commits[0])
    return Evidence("clone", f"files of {name} are not all in this clone", form.commits[0])
