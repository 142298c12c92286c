"""Whether picks may start, continue and end: their target, what is picked, and no conflict marker in a branch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from haulout.backports import history, worktree
from haulout.backports.git import encode
from haulout.backports.trailers import same_commit, sources
from haulout.errors import ConflictError, ContentError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.model import Fix
    from haulout.backports.repository import Branch, Repository
    from haulout.backports.worktree import Worktree

_MARKER: Final = re.compile(rb"^(?:<{7,} |>{7,} |\|{7,} )", re.MULTILINE)
"""Seven, or as many as the attribute conflict-marker-size says."""


def target_of(repository: Repository, branch: Branch, topic: str | None) -> str:
    """Return the local branch that gets the result."""
    if topic is not None:
        if not repository.may_be_branch(topic):
            raise UsageError(f"not a branch name: {topic[:80]!r}")
        taken = [one.name for one in repository.all_branches() if one.remote is None]
        if topic in taken:
            raise ConflictError(
                f"the branch {topic} already exists",
                hint=f"delete it (git branch -D {topic}), or name another: --topic NAME",
            )
        # Git keeps "a" as a file where "a/b" needs a folder.
        beside = next((one for one in taken if one.startswith(f"{topic}/") or topic.startswith(f"{one}/")), None)
        if beside is not None:
            raise ConflictError(
                f"git cannot have a branch {topic} beside {beside}", hint="choose another name for --topic"
            )
        return f"refs/heads/{topic}"
    target = f"refs/heads/{branch.name}"
    place = worktree.in_use(repository, target)
    if place is not None:
        raise ConflictError(
            f"{branch.name} is checked out in {place}",
            hint="switch to another branch there, or pick into a new one: --topic NAME",
        )
    if branch.remote is not None and (local := repository.find(target)) not in {None, branch.tip}:
        raise ConflictError(
            f"there is a local {branch.name} at {str(local)[:12]}, which is not {branch.shown}",
            hint="pick onto the local one, or into a new one: --topic NAME",
        )
    if branch.remote is None:
        published = next(
            (
                one
                for one in repository.all_branches()
                if one.name == branch.name and one.remote == repository.remote() and one.tip != branch.tip
            ),
            None,
        )
        if published is not None and not repository.is_ancestor(published.tip, branch.tip):
            raise ConflictError(
                f"{branch.name} lacks commits of {published.shown}",
                hint=f"update it first: git fetch . {published.ref}:{target}",
            )
    return target


def sources_of(wanted: Sequence[Fix]) -> list[str]:
    """Return the commits of fixes, each once, in order.

    Raises:
        NotFoundError: one is not in this clone.
    """
    for fix in wanted:
        if fix.unknown:
            raise NotFoundError(
                f"{fix.name}: commit {fix.unknown[0][:12]} is not in this clone", hint="fetch the branch it is on"
            )
    return list(dict.fromkeys(commit.oid for fix in wanted for commit in fix.commits))


def check_sources(repository: Repository, sources: Sequence[str], mainline: int | None) -> None:
    """Refuse commits that a shallow clone has cut, merges that must be taken as one, and parents that are not there."""
    for commit in history.commits(repository, sources):
        if not commit.parents and repository.cut(commit.oid):
            # Git would take it for a first commit, and pick everything there is.
            raise ContentError(
                f"the parent of {commit.oid[:12]} is not in this shallow clone",
                hint="git fetch --deepen=1, or --unshallow",
            )
        if len(commit.parents) > 1 and mainline is None:
            raise UsageError(
                f"{commit.oid[:12]} is a merge of very many commits, or of none: {commit.subject[:80]}",
                hint="name the parent it was merged into, usually --mainline 1; or name the commits it brought",
            )
        if mainline is not None and mainline > max(len(commit.parents), 1):
            raise UsageError(f"{commit.oid[:12]} has no parent {mainline}")


def check_resolved(repository: Repository, made: Worktree, source: str) -> None:
    """Refuse to continue with files that are in conflict, not staged, or have conflict markers."""
    unmerged = made.unmerged()
    if unmerged:
        raise ConflictError(
            f"still in conflict: {', '.join(unmerged[:8])}", hint=f"resolve them in {made.path}, then: git add FILE"
        )
    unsaved = made.unsaved()
    if unsaved:
        raise ConflictError(f"changed and not staged: {', '.join(unsaved[:8])}", hint=f"in {made.path}: git add FILE")
    staged = made.git.run("diff-index", "--cached", "--no-renames", "-z", "HEAD").fields
    suspects = _with_markers(repository, staged)
    marked = [path for _, path in suspects if _marked(made, f":{path}", (f"HEAD:{path}", f"{source}:{path}"))]
    if marked:
        raise ConflictError(
            f"conflict markers in {', '.join(marked[:8])}", hint=f"resolve them in {made.path}, then: git add FILE"
        )


def check_series(made: Worktree) -> None:
    """Refuse to continue a series unless its current pick was committed.

    It was where a person committed it by hand; where git was killed, that is unknown, and git would leave it out.
    """
    source = made.left[0]
    cited = sources(made.git.text("log", "--max-count=1", "--format=%B", "HEAD"))
    if not any(same_commit(source, one.oid) for one in cited) or made.unsaved() or made.staged():
        raise ConflictError(
            f"{source[:12]} and what follows it do not seem to be picked",
            hint=f"if it is picked, in {made.path}: git cherry-pick --continue; else --abort",
        )


def check_commits(repository: Repository, made: Worktree, picked: Sequence[tuple[str, str]]) -> None:
    """Refuse commits with conflict markers, made here or by hand.

    Args:
        repository: the library.
        made: where they were made.
        picked: each commit, and where its content comes from, which may have lines like markers of its own.
    """
    from_ = dict(picked)
    given = encode("".join(f"{commit}\n" for commit in from_))
    changed = made.git.run("diff-tree", "-r", "--no-renames", "-z", "--stdin", stdin=given).fields
    for commit, path in _with_markers(repository, changed):
        if _marked(made, f"{commit}:{path}", (f"{commit}^:{path}", f"{from_[commit]}:{path}")):
            raise ConflictError(
                f"conflict markers in {path} of {commit[:12]}",
                hint=f"amend it in {made.path}, then --continue; or --abort",
            )


def _with_markers(repository: Repository, changed: Sequence[str]) -> list[tuple[str, str]]:
    """Return the files whose new content has lines like conflict markers, each with the commit named before it.

    Args:
        repository: the library.
        changed: git's raw format: commits, and ":<mode> <mode> <old> <new> <status>", each of these with a path.
    """
    commit = ""
    places: list[tuple[str, str, str]] = []
    fields = iter(changed)
    for one in fields:
        if one.startswith(":"):
            places.append((one.split(" ")[3], commit, next(fields)))
        else:
            commit = one
    with repository.scratch_objects() as objects:
        contents = objects.read_all(oid for oid, _, _ in places)
        marked = {oid for oid, content in contents if content is not None and _MARKER.search(content)}
    return [(commit, path) for oid, commit, path in places if oid in marked]


def _marked(made: Worktree, place: str, allowed: Sequence[str]) -> bool:
    """Whether a file has conflict markers that it does not have in other places (a test's data may)."""

    def markers(where: str) -> int:
        done = made.git.run("cat-file", "blob", where, ok=(0, 128))
        return len(_MARKER.findall(done.out)) if done.code == 0 else 0

    count = markers(place)
    return bool(count) and count > max(markers(where) for where in allowed)
