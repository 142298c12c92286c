"""Recognise the backports of a commit among all commits of all branches.

The worth of each signal was measured on the container libraries: author and author date find 89 % of all backports,
the patch-id 59 %, trailers 10 %. A signal makes a commit a representative of the fix, to be tried on other branches;
whether a branch has the fix is decided by content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.backports.naming import is_code
from haulout.backports.trailers import same_commit, sources, subject_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from haulout.backports.model import Commit, Patch


_SHORTEST: Final = 7
"""Digits of an id that messages have at least."""
SQUASH: Final = "squash"
"""The signal by which a commit is one of those that the fix was squashed from."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit that may be the fix on some branch."""

    commit: Commit
    signals: tuple[str, ...]
    partial: bool = False
    """It leaves out files that the fix changes: where it is, the fix may still be missing."""

    @property
    def sure(self) -> bool:
        """Whether it may be picked in the place of the fix: another commit may share one of these two."""
        return set(self.signals) not in ({"author-date"}, {"subject"}, {SQUASH})


def candidates(
    unit: Commit,
    walked: Iterable[Commit],
    *,
    patch_ids: Mapping[str, str],
    patch_id: str | None,
    alike: Callable[[Sequence[Commit]], set[str]],
) -> list[Candidate]:
    """Return the commits that a signal ties to ``unit``. Pure, but for ``alike``.

    Args:
        unit: the upstream commit.
        walked: where to look.
        patch_ids: of the commits walked, as far as they touch the unit's files.
        patch_id: the unit's.
        alike: returns which of some commits change the same lines. Asked where only author and date agree, or only
            author and subject, which other commits of the same person may do as well.
    """
    others = [commit for commit in walked if commit.oid != unit.oid]
    found: dict[str, tuple[Commit, dict[str, None]]] = {}
    doubtful: dict[str, tuple[Commit, dict[str, None]]] = {}
    key = subject_key(unit.subject)
    for commit in others:
        signals: dict[str, None] = {}
        if patch_id is not None and patch_ids.get(commit.oid) == patch_id:
            signals["patch-id"] = None
        if commit.email == unit.email:
            if commit.authored == unit.authored:
                signals["author-date"] = None
            if key and subject_key(commit.subject) == key:
                signals["subject"] = None
        if "patch-id" in signals or len(signals) > 1:
            found[commit.oid] = (commit, signals)
        elif signals:
            doubtful[commit.oid] = (commit, signals)
    sure = alike([commit for commit, _ in doubtful.values()]) if doubtful else set()
    found |= {oid: doubtful[oid] for oid in doubtful if oid in sure}
    _follow_citations(unit, others, found)
    return [Candidate(commit, tuple(signals)) for commit, signals in found.values()]


def _follow_citations(unit: Commit, others: Sequence[Commit], found: dict[str, tuple[Commit, dict[str, None]]]) -> None:
    """Add the commits that name the unit, or what was found, as their source; and those the unit names as its own."""
    cited_by_unit = sources(unit.message)
    citing = [(commit, cited) for commit in others if (cited := sources(commit.message))]
    for commit in others if cited_by_unit else ():
        for citation in cited_by_unit:
            if same_commit(citation.oid, commit.oid):
                found.setdefault(commit.oid, (commit, {}))[1][citation.signal] = None
    # Picks of picks name the pick, so go on until no more is found.
    names = [unit.oid, *found]
    while names:
        wanted, names = names, []
        starts = {name[:_SHORTEST] for name in wanted}
        for commit, cited in citing:
            for citation in cited:
                if citation.oid[:_SHORTEST] in starts and any(same_commit(citation.oid, name) for name in wanted):
                    if commit.oid not in found:
                        names.append(commit.oid)
                    found.setdefault(commit.oid, (commit, {}))[1][citation.signal] = None


def pieces(unit: Commit, walked: Iterable[Commit]) -> dict[str, list[Commit]]:
    """Return the commits that a squash lists in its message, by the entry of its list. Pure.

    GitHub writes one line for each commit that it squashed, "* SUBJECT".
    """
    keys = dict.fromkeys(subject_key(line[2:]) for line in unit.message.split("\n")[1:] if line.startswith("* "))
    keys.pop("", None)
    found: dict[str, list[Commit]] = {key: [] for key in keys}
    for commit in walked if len(keys) > 1 else ():
        if commit.oid != unit.oid and (commit.email == unit.email or commit.author == unit.author):
            key = subject_key(commit.subject)
            if key in found:
                found[key].append(commit)
    return found


def covers(patch: Patch, fix: Patch, had: Callable[[str], bool]) -> bool:
    """Whether a backport does all of a fix, judged by its files: then its presence proves the fix's.

    Args:
        patch: the backport's.
        fix: the upstream's.
        had: whether the backport's branch had a file.
    """
    left = [change for change in fix.changes if change.path not in patch.paths and is_code(change.path)]
    missing = [change for change in left if change.old is None or had(change.path)]
    # What the branch has under another name was changed there; other new names may stand for what is missing.
    other = len(patch.paths - fix.paths) - (len(left) - len(missing))
    return len(missing) <= max(other, 0)
