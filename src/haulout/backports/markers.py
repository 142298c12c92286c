"""Conflict markers never become part of a branch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from haulout.backports.git import decode
from haulout.backports.trailers import same_commit, sources
from haulout.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.worktree import Worktree

_MARKER: Final = re.compile(rb"^(?:<{7,} |>{7,} |\|{7,} )", re.MULTILINE)
"""Seven, or as many as the attribute conflict-marker-size says."""


def check_resolved(made: Worktree, source: str) -> None:
    """Refuse to go on with files that are in conflict, not staged, or have conflict markers."""
    unmerged = made.unmerged()
    if unmerged:
        raise ConflictError(
            f"still in conflict: {', '.join(unmerged[:8])}",
            hint=f"resolve them in {made.path}, then: git add FILE",
        )
    unsaved = made.unsaved()
    if unsaved:
        raise ConflictError(f"changed and not staged: {', '.join(unsaved[:8])}", hint=f"in {made.path}: git add FILE")
    marked = [path for path in made.staged() if _marked(made, f":{path}", (f"HEAD:{path}", f"{source}:{path}"))]
    if marked:
        raise ConflictError(
            f"conflict markers in {', '.join(marked[:8])}", hint=f"resolve them in {made.path}, then: git add FILE"
        )


def check_series(made: Worktree) -> None:
    """Refuse to go on with a series unless the pick that was under way was made.

    So it is where somebody committed it by hand; where git was killed, who can tell. Going on, git would leave it out.
    """
    source = made.left[0]
    cited = sources(made.git.text("log", "--max-count=1", "--format=%B", "HEAD"))
    if not any(same_commit(source, one.oid) for one in cited) or made.unsaved() or made.staged():
        raise ConflictError(
            f"{source[:12]} and what follows it are not picked, as far as one can tell",
            hint=f"where it is, in {made.path}: git cherry-pick --continue; else give up with --abort",
        )


def check_commits(made: Worktree, picked: Sequence[tuple[str, str]]) -> None:
    """Refuse commits with conflict markers, whoever made them.

    Args:
        made: where they were made.
        picked: each commit, and where its content comes from, which may have lines like markers of its own.
    """
    for commit, source in picked:
        out = made.git.run("diff-tree", "-r", "--no-commit-id", "--name-only", "-z", commit).out
        for path in filter(None, decode(out).split("\0")):
            if _marked(made, f"{commit}:{path}", (f"{commit}^:{path}", f"{source}:{path}")):
                raise ConflictError(
                    f"conflict markers in {path} of {commit[:12]}",
                    hint=f"amend it in {made.path}, then --continue; or --abort",
                )


def _marked(made: Worktree, place: str, allowed: Sequence[str]) -> bool:
    """Whether a file has conflict markers that it does not have in other places (a test's data may)."""

    def markers(where: str) -> int:
        done = made.git.run("cat-file", "blob", where, ok=(0, 128))
        return len(_MARKER.findall(done.out)) if done.code == 0 else 0

    count = markers(place)
    return bool(count) and count > max(markers(where) for where in allowed)
