"""Whether picks may begin: where their result goes, and what is to be picked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.backports import history, worktree
from haulout.errors import ConflictError, ContentError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.model import Fix
    from haulout.backports.repository import Branch, Repository


def target_of(repository: Repository, branch: Branch, topic: str | None) -> str:
    """Return the local branch that gets the result."""
    if topic is not None:
        if not repository.may_be_branch(topic):
            raise UsageError(f"not a name for a branch: {topic[:80]!r}")
        taken = [one.name for one in repository.all_branches() if one.remote is None]
        if topic in taken:
            raise ConflictError(f"the branch {topic} exists already", hint="choose another name for --topic")
        # Git keeps "a" as a file where "a/b" needs a folder.
        beside = next((one for one in taken if one.startswith(f"{topic}/") or topic.startswith(f"{one}/")), None)
        if beside is not None:
            raise ConflictError(
                f"there cannot be a branch {topic} beside {beside}", hint="choose another name for --topic"
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
                hint=f"bring it up to date first: git fetch . {published.ref}:{target}",
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


def check_merges(repository: Repository, sources: Sequence[str], mainline: int | None) -> None:
    """Refuse merge commits without their parent, and commits that a shallow clone has cut."""
    for commit in history.commits(repository, sources):
        if not commit.parents and repository.cut(commit.oid):
            # Git would take it for a first commit, and pick everything there is.
            raise ContentError(
                f"what {commit.oid[:12]} changes is not in this shallow clone",
                hint="git fetch --deepen=1, or --unshallow",
            )
        if len(commit.parents) > 1 and mainline is None:
            raise UsageError(
                f"{commit.oid[:12]} is a merge commit: {commit.subject[:80]}",
                hint="say which parent it went onto, mostly --mainline 1; or name the commits it brought",
            )
        if mainline is not None and mainline > max(len(commit.parents), 1):
            raise UsageError(f"{commit.oid[:12]} has no parent {mainline}")
