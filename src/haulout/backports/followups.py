"""What happened to a commit upstream since: reverts, fixes of it, and changes of the very lines it brought."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.backports import history
from haulout.backports.git import decode
from haulout.backports.trailers import fixed, mentions, reverted, same_commit
from haulout.documents import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from haulout.backports.model import Commit
    from haulout.backports.repository import Repository

_HUNK: Final = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_MOST: Final = 2000
"""Later commits that are compared."""


@dataclass(frozen=True, slots=True)
class FollowUp(Document):
    """A commit on the main branch that concerns an earlier one."""

    json_members = ("*commit", "how")

    commit: Commit
    how: str
    """``reverts``, ``fixes``, ``mentions``, or ``same lines``: a change of lines it brought, maybe a follow-up."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that a change replaces: first line and count, before and after."""

    old: int
    old_count: int
    new: int
    new_count: int


@dataclass(frozen=True, slots=True)
class Span:
    """Lines, from first to last."""

    first: int
    last: int


def since(repository: Repository, oid: str, main: str) -> tuple[FollowUp, ...]:
    """Return what concerns a commit on the main branch since, oldest first."""
    later = history.between(repository, "--reverse", "--topo-order", f"{oid}..{main}")
    found: dict[str, FollowUp] = {}
    for commit in later:
        how = _how(commit, oid)
        if how is not None:
            found[commit.oid] = FollowUp(commit, how)
    by_oid = {commit.oid: commit for commit in later}
    for touching in _same_lines(repository, oid, main):
        if touching in by_oid and touching not in found:
            found[touching] = FollowUp(by_oid[touching], "same lines")
    return tuple(found[commit.oid] for commit in later if commit.oid in found)


def _how(commit: Commit, oid: str) -> str | None:
    if any(same_commit(one, oid) for one in reverted(commit.message)):
        return "reverts"
    if any(same_commit(one, oid) for one in fixed(commit.message)):
        return "fixes"
    return "mentions" if mentions(commit.message, oid) else None


def track(spans: Iterable[Span], hunks: Sequence[Hunk]) -> tuple[list[Span], bool]:
    """Follow lines through one change of their file: where they are now, and whether the change touched them. Pure."""
    found: list[Span] = []
    touched = False
    for span in spans:
        shift = 0
        for hunk in hunks:
            # Without old lines, the new ones come behind line "old".
            last = hunk.old + hunk.old_count - 1 if hunk.old_count else hunk.old
            inside = (
                span.first < hunk.old + 1 <= span.last
                if not hunk.old_count
                else (hunk.old <= span.last and last >= span.first)
            )
            if inside:
                touched = True
                break
            if last < span.first:
                shift += hunk.new_count - hunk.old_count
        else:
            found.append(Span(span.first + shift, span.last + shift))
    return found, touched


def hunks(patch: str) -> dict[str, list[Hunk]]:
    """Return the hunks of a patch without context lines, by file as it was before. Pure."""
    found: dict[str, list[Hunk]] = {}
    current: list[Hunk] = []
    old = ""
    for line in patch.split("\n"):
        if line.startswith("--- "):
            old = line[4:].removesuffix("\t")
        elif line.startswith("+++ "):
            new = line[4:].removesuffix("\t")
            name = new if old == "/dev/null" else old
            current = found.setdefault(name.partition("/")[2], [])
        elif match := _HUNK.match(line):
            numbers = [int(part) if part is not None else 1 for part in match.groups()]
            current.append(Hunk(*numbers))
    return found


def _same_lines(repository: Repository, oid: str, main: str) -> list[str]:
    """Return the commits along the main branch that change lines which a commit brought.

    Lines are followed from merge to merge: along first parents, where each change goes onto the one before.
    """
    entry = history.entry(repository, oid, main)
    if entry is None:
        return []
    brought = hunks(_patch(repository, entry))
    spans = {
        path: [Span(one.new, one.new + one.new_count - 1) for one in changed if one.new_count]
        for path, changed in brought.items()
    }
    spans = {path: lines for path, lines in spans.items() if lines}
    if not spans:
        return []
    range_ = ("--first-parent", "--reverse", f"--max-count={_MOST}", f"{entry}..{main}", "--", *history.literal(spans))
    out = repository.git.run("log", "--format=%x00%H", *_DIFF, *range_).out
    found = []
    for block in decode(out).split("\0")[1:]:
        commit, _, patch = block.partition("\n")
        for path, changed in hunks(patch).items():
            if path in spans:
                spans[path], touched = track(spans[path], changed)
                if touched and commit not in found:
                    found.append(commit)
    return found


_DIFF: Final = ("--patch", "--unified=0", "--diff-merges=first-parent", "--no-color", *history.PLAIN)


def _patch(repository: Repository, oid: str) -> str:
    return decode(repository.git.run("log", "--max-count=1", "--format=", *_DIFF, oid).out)


def pull_requests(repository: Repository, oids: Sequence[str], main: str) -> dict[str, list[str]]:
    """Return the merges by which commits came into main, and all that each merge brought, oldest first."""
    found: dict[str, list[str]] = {}
    for oid in oids:
        if not repository.is_ancestor(oid, main):
            continue
        entry = history.entry(repository, oid, main)
        if entry is None or entry == oid or entry in found:
            continue
        parents = repository.revisions("--max-count=1", "--parents", entry)[1:]
        if len(parents) == 2:
            found[entry] = repository.revisions("--reverse", "--no-merges", f"{parents[0]}..{parents[1]}")
    return found
