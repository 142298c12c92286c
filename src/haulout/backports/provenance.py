"""Write into every picked commit where it comes from, also into one that a person made with ``git commit``.

Git writes "(cherry picked from commit …)" itself, but not where a message is given by hand after a conflict. The
worktree knows what was to be picked, and git keeps the author and the author date of what it picks: by these the source
is found.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.backports import history
from haulout.backports.git import encode
from haulout.backports.trailers import same_commit, sources
from haulout.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.model import Commit
    from haulout.backports.repository import Repository
    from haulout.backports.worktree import Worktree

_LINE: Final = "(cherry picked from commit {})"
_TRAILER: Final = re.compile(rb"[A-Za-z][A-Za-z0-9-]*: |\(cherry picked from commit ")
_SIGNED: Final = (b"gpgsig ", b"gpgsig-sha256 ")


@dataclass(frozen=True, slots=True)
class Attribution:
    """A commit that was made, and what it was picked from; None: unknown."""

    commit: Commit
    source: str | None
    cited: bool
    """Its message names it."""


def attributions(made: Sequence[Commit], wanted: Sequence[Commit]) -> tuple[Attribution, ...]:
    """Return what each commit was picked from. Pure.

    Args:
        made: the commits since the branch's tip, oldest first.
        wanted: what was to be picked, in order; some of it may have been there already.
    """
    places = [_place(one, wanted) for one in made]
    found = []
    for number, one in enumerate(made):
        cited = sources(one.message)
        if cited:
            found.append(Attribution(one, cited[-1].oid, cited=True))
            continue
        first = max((place + 1 for place in places[:number] if place is not None), default=0)
        last = min((place for place in places[number + 1 :] if place is not None), default=len(wanted))
        alike = [at for at in range(first, last) if _authorship(wanted[at]) == _authorship(one)]
        if len(alike) == 1:
            places[number] = alike[0]
        found.append(Attribution(one, wanted[alike[0]].oid if len(alike) == 1 else None, cited=False))
    return tuple(found)


def _place(one: Commit, wanted: Sequence[Commit]) -> int | None:
    cited = sources(one.message)
    return next((at for at, each in enumerate(wanted) if cited and same_commit(each.oid, cited[-1].oid)), None)


def _authorship(commit: Commit) -> tuple[str, str, int]:
    return commit.author, commit.email, commit.authored


def write_provenance(repository: Repository, made: Worktree) -> None:
    """Write into every commit of a worktree what it was picked from, where it is missing.

    Raises:
        ConflictError: it is unknown, or the commit is signed.
    """
    commits = history.between(repository, "--reverse", "--topo-order", f"{made.start}..{made.head}")
    wanted = history.commits(repository, [oid for oid in made.sources if repository.find(oid)])
    each = attributions(commits, wanted)
    if all(one.cited for one in each):
        return
    after = dict[str, str]()
    for one in each:
        raw = made.git.run("cat-file", "commit", one.commit.oid).out
        new = _with_parents(raw, after)
        if not one.cited:
            _check(made, one, raw)
            new = new.rstrip(b"\n") + encode(_ending(one) + "\n")
        if new != raw:
            if raw.partition(b"\n\n")[0].find(b"\ngpgsig") >= 0:
                raise _unattributed(
                    made, one, f"{one.commit.oid[:12]} is signed, and follows a pick without its source"
                )
            after[one.commit.oid] = made.git.text("hash-object", "-t", "commit", "-w", "--stdin", stdin=new)
    made.git.run("update-ref", "--no-deref", "-m", "haulout backport pick: sources", "HEAD", after[each[-1].commit.oid])


def note_conflicts(made: Worktree) -> None:
    """Let the message of the pick that has stopped say in which files there were conflicts.

    Git knows, and writes it into the message as a comment, which is taken away.
    """
    place = Path(os.fsdecode(made.git.run("rev-parse", "--path-format=absolute", "--git-path", "MERGE_MSG").out[:-1]))
    try:
        text = place.read_bytes()
    except FileNotFoundError:
        return
    message, mark, comments = text.partition(b"\n# Conflicts:\n")
    files = [line.removeprefix(b"#\t") for line in comments.split(b"\n") if line.startswith(b"#\t")]
    if not mark or not files or b"\nConflicts:\n" in message:
        return
    head, scissors, rest = message.partition(b"\n# ------------------------ >8")
    body, blank, trailers = head.rstrip(b"\n").rpartition(b"\n\n")
    lines = trailers.split(b"\n")
    if not blank or not all(_TRAILER.match(line) for line in lines):
        body, trailers = head.rstrip(b"\n"), b""
    note = b"Conflicts:\n" + b"".join(b"\t" + path + b"\n" for path in files)
    made_of = [body, note.rstrip(b"\n"), *([trailers] if trailers else [])]
    place.write_bytes(b"\n\n".join(made_of) + b"\n" + scissors + rest + mark + comments)


def _check(made: Worktree, one: Attribution, raw: bytes) -> None:
    if one.source is None:
        raise _unattributed(
            made, one, f"{one.commit.oid[:12]} does not name what it was picked from: {one.commit.subject[:60]}"
        )
    if any(line.startswith(_SIGNED) for line in raw.partition(b"\n\n")[0].split(b"\n")):
        raise _unattributed(made, one, f"{one.commit.oid[:12]} is signed, and does not name what it was picked from")


def _unattributed(made: Worktree, one: Attribution, what: str) -> ConflictError:
    line = _LINE.format(one.source or "…")
    return ConflictError(
        what,
        hint=f"in {made.path}: git commit --amend, with the line {line}; or join it to the pick before it; or --abort",
    )


def _with_parents(raw: bytes, after: dict[str, str]) -> bytes:
    head, blank, message = raw.partition(b"\n\n")
    lines = [
        b"parent " + after.get(line[7:].decode("ascii"), line[7:].decode("ascii")).encode()
        if line.startswith(b"parent ")
        else line
        for line in head.split(b"\n")
    ]
    return b"\n".join(lines) + blank + message


def _ending(one: Attribution) -> str:
    """Return what a message gets at its end, set apart from it but not from trailers."""
    last = one.commit.message.rstrip("\n").rpartition("\n")[2]
    apart = "\n" if last.startswith(("Signed-off-by: ", "(cherry picked")) else "\n\n"
    return apart + _LINE.format(one.source)
