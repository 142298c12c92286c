"""Temporary worktrees for picks. All state is git's own and visible: ``git worktree list -v`` shows picks in progress.

A worktree is detached, so the branch stays as it is until everything is picked. The reason of its lock says what it is
for: ``haulout backport pick onto BRANCH into TARGET from START of SOURCE…``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.backports.git import Done, Git, decode, failure
from haulout.backports.suggestions import resume_command
from haulout.errors import ConflictError, HauloutError, ToolError
from haulout.local import lasting_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.repository import Repository

_REASON: Final = "haulout backport pick onto {branch} into {target} from {start} of {sources}"
_READ: Final = re.compile(
    r"haulout backport pick onto (?P<branch>[^ ]+) into (?P<target>[^ ]+) from (?P<start>[0-9a-f]+)"
    r" of (?P<sources>[0-9a-f ]*)"
)
"""No branch has a blank in its name; other spaces, as of Unicode, it may have."""
_MOST: Final = 1000
"""Sources that are written down; Linux gives an argument 128 KiB."""


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree in which picks onto a branch are made."""

    path: Path
    branch: str
    """The branch picked onto, by its full ref."""
    target: str
    """The local branch that gets the result."""
    start: str
    """The commit that the branch was at when the picks began."""
    sources: tuple[str, ...]
    """What was to be picked, in order; empty where it was more than can be written down."""
    git: Git

    @property
    def head(self) -> str:
        """The commit it is at."""
        return self.git.text("rev-parse", "--verify", "HEAD")

    @property
    def picking(self) -> str | None:
        """The commit whose pick has stopped, or None."""
        return self.git.run("rev-parse", "--verify", "--quiet", "CHERRY_PICK_HEAD", ok=(0, 1)).text or None

    @property
    def left(self) -> list[str]:
        """The commits that git still has to pick, the current one first; empty where it is not a series."""
        place = self.git.run("rev-parse", "--path-format=absolute", "--git-path", "sequencer/todo").out
        try:
            todo = Path(os.fsdecode(place.removesuffix(b"\n"))).read_bytes()
        except FileNotFoundError:
            return []
        # "pick <id> <subject>"
        words = [line.split(b" ", 2) for line in todo.split(b"\n") if line.startswith(b"pick ")]
        return [decode(one[1]) for one in words if len(one) > 1]

    def _differing(self, *arguments: str) -> list[str]:
        return self.git.run("diff", "--name-only", "-z", *arguments).fields

    def unmerged(self) -> list[str]:
        """Return the files that still have conflicts."""
        return self._differing("--diff-filter=U")

    def unmerged_without(self, stage: int) -> tuple[str, ...]:
        """Return the files in conflict that one side does not have: 2 the branch, 3 what is picked."""
        stages: dict[str, set[str]] = {}
        for line in self.git.run("ls-files", "--unmerged", "-z").fields:
            # "<mode> <id> <stage>\t<path>"
            about, _, path = line.partition("\t")
            stages.setdefault(path, set()).add(about[-1:])
        return tuple(path for path, there in stages.items() if str(stage) not in there)

    def unsaved(self) -> list[str]:
        """Return the files that differ from the index."""
        return self._differing("--ignore-submodules=all")

    def staged(self) -> list[str]:
        """Return the files whose staged content differs from HEAD."""
        return self._differing("--cached", "--no-renames", "HEAD")


def add(repository: Repository, branch: str, target: str, start: str, sources: Sequence[str]) -> Worktree:
    """Create a worktree at the commit where a branch is."""
    kept = tuple(sources) if len(sources) <= _MOST else ()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", target.removeprefix("refs/heads/"))[:60]
    path = lasting_folder(f"haulout-pick-{name}-")
    try:
        reason = _REASON.format(branch=branch, target=target, start=start, sources=" ".join(kept))
        how = ("--quiet", "--detach", "--lock", "--reason", reason, str(path), start)
        _check_hook(repository, repository.git.run("worktree", "add", *how, ok=range(128)))
    except BaseException:
        remove(repository, path)
        raise
    return Worktree(path, branch, target, start, kept, Git(path, repository.git.variables))


def _check_hook(repository: Repository, done: Done) -> None:
    """Refuse a worktree whose hook failed: git then ends with its exit code, where its own for failures is 128."""
    if done.code == 0:
        return
    hook = repository.git.text("rev-parse", "--path-format=absolute", "--git-path", "hooks/post-checkout")
    if not os.access(hook, os.X_OK):
        raise failure("worktree", done.code, done.err, repository.path)
    said = done.err.strip().rpartition("\n")[2][:200] or "it said nothing"
    raise ToolError(
        "git",
        f"the hook post-checkout failed with exit code {done.code}: {said}",
        hint=f"mend it, or turn it off: chmod -x {shlex.quote(hook)}",
    )


def find(repository: Repository, target: str) -> Worktree | None:
    """Return the worktree of the unfinished picks into a branch, or None."""
    return next((one for one in every(repository) if one.target == target), None)


def every(repository: Repository) -> list[Worktree]:
    """Return the worktrees of all unfinished picks."""
    found = []
    for lines in _listed(repository):
        place = next((line[9:] for line in lines if line.startswith("worktree ")), "")
        reason = next((_READ.fullmatch(line[7:]) for line in lines if line.startswith("locked ")), None)
        if reason is not None:
            path = Path(place)
            sources = tuple(reason["sources"].split())
            git = Git(path, repository.git.variables)
            found.append(Worktree(path, reason["branch"], reason["target"], reason["start"], sources, git))
    return found


def _listed(repository: Repository) -> list[list[str]]:
    out = repository.git.run("worktree", "list", "--porcelain", "-z").out
    return [block.split("\0") for block in decode(out).split("\0\0")]


def in_use(repository: Repository, ref: str) -> Path | None:
    """Return the worktree that has a branch checked out, or None."""
    for lines in _listed(repository):
        if f"branch {ref}" in lines:
            return Path(lines[0].removeprefix("worktree "))
    return None


def remove(repository: Repository, path: Path) -> None:
    """Remove a worktree, with all that is in it."""
    repository.git.run("worktree", "unlock", str(path), ok=(0, 128))
    # Twice --force: also one whose creation was interrupted.
    repository.git.run("worktree", "remove", "--force", "--force", str(path), ok=(0, 128))
    # No "worktree prune": it would also forget worktrees of the user's that are away, on a disk not mounted just now.
    shutil.rmtree(path, ignore_errors=True)


def finish(repository: Repository, worktree: Worktree, message: str) -> str:
    """Move the branch to what was picked, and remove the worktree; return the new tip.

    Raises:
        ConflictError: the branch has moved meanwhile, or was checked out. The worktree stays.
    """
    name = worktree.target.removeprefix("refs/heads/")
    place = in_use(repository, worktree.target)
    if place is not None:
        # What is checked out there would look like a revert of the picks.
        raise ConflictError(
            f"{name} is checked out in {place} now",
            hint=f"switch to another branch there, then: {resume_command(repository.path, name, '--continue')}",
        )
    head = worktree.head
    none = "0" * len(worktree.start)
    old = repository.find(worktree.target) or none
    # The branch itself must be where it was when the picks began; a new one must not be there, or be just there.
    expected = {worktree.start} if worktree.target == worktree.branch else {worktree.start, none}
    if old not in expected or not repository.is_ancestor(worktree.start, head):
        raise moved(repository, worktree, old if old != none else None)
    done = repository.git.run("update-ref", "-m", message, worktree.target, head, old, ok=(0, 1, 128))
    if done.code:
        # It moved just now; or a hook, a lock or a branch with a name like it is in the way.
        reason = done.err.strip().partition("\n")[0].removeprefix("fatal: ")[:200]
        raise ConflictError(
            f"cannot move {name}: {reason}",
            hint=f"solve that, then: {resume_command(repository.path, name, '--continue')}; or --abort",
        )
    try:
        remove(repository, worktree.path)
    except HauloutError:
        # What matters is done; git worktree prune takes the rest.
        return head
    return head


def moved(repository: Repository, worktree: Worktree, now: str | None) -> ConflictError:
    """Return the error for a branch that is not where it was when its picks began."""
    name = worktree.target.removeprefix("refs/heads/")
    if now == worktree.start:
        return ConflictError(
            f"what was picked in {worktree.path} does not build on {name}",
            hint=f"abort: {resume_command(repository.path, name, '--abort')}",
        )
    where = f"has moved from {worktree.start[:12]} to {now[:12]}" if now else "is gone"
    back = shlex.join(
        ["git", "-C", str(repository.path), "branch", *(["-f"] if now else []), name, worktree.start[:12]]
    )
    return ConflictError(
        f"{name} {where} while picks were made",
        hint=f"start over: {resume_command(repository.path, name, '--abort')}; or put it back: {back}, then --continue",
    )
