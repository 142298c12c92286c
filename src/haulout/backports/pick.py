"""Pick fixes onto a branch, in a temporary worktree: one commit a pick, all of them or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from haulout.backports import fix as fixes
from haulout.backports import history, markers, preconditions, provenance, record_writing, records, worktree
from haulout.backports.git import decode
from haulout.backports.repository import open_repository
from haulout.backports.resume import again
from haulout.errors import ConflictError, HauloutError, NotFoundError, ToolError, UsageError
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from haulout.backports.model import Commit, Fix
    from haulout.backports.record_writing import Unwritten
    from haulout.backports.repository import Repository
    from haulout.backports.worktree import Worktree
    from haulout.progress import Progress

_CONTINUE: Final = ("--continue", "--edit")
"""With an editor that changes nothing; without any, git takes lines of the message that begin with # away."""
_MOST: Final = 20
"""Prerequisites listed."""


class Outcome(StrEnum):
    """How a run of ``pick`` ended."""

    PICKED = "picked"
    PRESENT = "already there"
    CONFLICT = "conflict"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Picked:
    """One commit that was made."""

    source: str
    commit: str
    subject: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A conflict: what is in the way, and where to go on."""

    source: Commit
    files: tuple[str, ...]
    prerequisites: tuple[Commit, ...]
    """Commits before the source that touched these files and are not on the branch, newest first."""
    worktree: Path
    instead: tuple[Commit, ...] = ()
    """Backports of the source on other branches, of which the first would apply."""


@dataclass(frozen=True, slots=True)
class PickResult:
    """What ``pick`` did."""

    outcome: Outcome
    branch: str
    target: str
    before: str
    after: str
    picked: tuple[Picked, ...] = ()
    present: tuple[str, ...] = ()
    """Sources whose pick would have been empty."""
    stop: Stop | None = None
    recorded: tuple[Path, ...] = ()
    """Fix records that were grown."""
    remote: str | None = None
    fixes: tuple[str, ...] = field(default=())
    """Ids of the records of what was picked."""
    unwritten: tuple[Unwritten, ...] = ()
    """What should be in records and could not be written, although the branch has moved."""


def pick(
    path: Path,
    name: str,
    names: Sequence[str],
    *,
    book: Path | None = None,
    topic: str | None = None,
    mainline: int | None = None,
    record: str | None = None,
    progress: Progress | None = None,
) -> PickResult:
    """Pick fixes onto a branch.

    The branch moves when everything is picked, and not before. Where a pick conflicts, the result has a ``stop``; the
    worktree stays for people to resolve it, and :func:`go_on` or :func:`abort` take it from there.

    Args:
        path: the library's clone.
        name: the branch.
        names: commits, series or ids of records.
        book: the ledger; its records are grown.
        topic: make this new branch from it, and leave the branch itself alone.
        mainline: of merge commits, the parent they went onto.
        record: the id of the record to make, where none has the fix.
        progress: is told of every commit.

    Raises:
        NotFoundError: there is no such clone, branch or fix.
        UsageError: a fix is a merge commit and ``mainline`` is not given.
        ConflictError: picks onto that branch are under way, or it is checked out somewhere.
    """
    repository = open_repository(path, offline=False)
    branch = repository.branch(name)
    target = preconditions.target_of(repository, branch, topic)
    under_way = worktree.find(repository, target)
    if under_way is not None:
        raise ConflictError(
            f"picks onto {_short(target)} are under way in {under_way.path}",
            hint=f"{again(path, name, '--continue')}; or --abort",
        )
    known = records.load_all(book) if book is not None else ()
    wanted = [fixes.resolve(repository, one, known, merges=True, mainline=mainline) for one in dict.fromkeys(names)]
    sources = preconditions.sources_of(wanted)
    preconditions.check_merges(repository, sources, mainline)
    record_writing.check(book, record, sources)
    before = branch.tip
    made = worktree.add(repository, branch.ref, target, before, sources)
    if any(one.target == target and one.path != made.path for one in worktree.every(repository)):
        worktree.remove(repository, made)
        raise ConflictError(f"picks onto {_short(target)} have begun at the same moment", hint="try again")
    with (progress or NullProgress()).task("picking", len(sources), unit="commits") as task:
        try:
            present = _run(made, ["-x", *([f"--mainline={mainline}"] if mainline else []), *sources], [])
            task.advance(len(sources))
        except BaseException:
            worktree.remove(repository, made)
            raise
    return _end(repository, made, present, _Book(book, record, tuple(wanted)))


def go_on(path: Path, name: str, *, book: Path | None = None, record: str | None = None) -> PickResult:
    """Go on with picks after a conflict was resolved and its files were staged.

    Raises:
        ConflictError: none are under way, files have conflicts still, or conflict markers.
    """
    repository = open_repository(path, offline=False)
    record_writing.check(book, record, None)
    made = _under_way(repository, name)
    present: list[str] = []
    source = made.picking
    provenance.cite(repository, made)
    if source is None and made.left:
        markers.check_series(made)
        present = _run(made, _CONTINUE, [])
    elif source is None and made.head == made.start:
        raise ConflictError(
            f"nothing was picked in {made.path}: it was broken off, or given up with git",
            hint=f"begin again: {again(path, name, '--abort')}",
        )
    elif source is not None:
        markers.check_resolved(made, source)
        staged = made.staged()
        present = _run(made, _CONTINUE if staged else ["--skip"], [] if staged else [source])
    return _end(repository, made, present, _Book(book, record, ()))


def abort(path: Path, name: str) -> PickResult:
    """Give up picks under way: the branch is as it was, the worktree goes away with what was done in it."""
    repository = open_repository(path, offline=False)
    try:
        made = _under_way(repository, name)
    except _Gone as gone:
        worktree.remove(repository, gone.made)
        return PickResult(Outcome.ABORTED, _short(gone.made.branch), _short(gone.made.target), "", "")
    before = repository.find(made.target) or made.start
    worktree.remove(repository, made)
    return PickResult(Outcome.ABORTED, _short(made.branch), _short(made.target), before, before)


class _Gone(ConflictError):  # noqa: N818 - named by what is wrong, as in errors
    """The folder of a worktree was removed by hand."""

    def __init__(self, made: Worktree, hint: str) -> None:
        super().__init__(f"the worktree of the picks is gone: {made.path}", hint=hint)
        self.made = made


@dataclass(frozen=True, slots=True)
class _Book:
    """What is to be written down."""

    path: Path | None
    record: str | None
    wanted: tuple[Fix, ...]


def _run(made: Worktree, arguments: Sequence[str], present: list[str]) -> list[str]:
    """Run ``git cherry-pick`` until it is done or stops at a conflict; return the sources that were there already."""
    while True:
        done = made.git.run("cherry-pick", *arguments, ok=(0, 1, 128))
        source = made.picking
        if done.code == 0 or source is None:
            if done.code:
                raise _not_picked(made, done.err)
            return present
        if made.unmerged():
            return present
        if made.staged():
            # No conflict, and still no commit: nobody to commit as, a hook, a signature.
            raise _not_picked(made, done.err)
        present.append(source)
        arguments = ["--skip"]


def _not_picked(made: Worktree, err: str) -> Exception:
    from haulout.backports.git import failure  # noqa: PLC0415

    said = err.strip()
    if "Please tell me who you are" in said or "unable to auto-detect email" in said or "empty ident name" in said:
        return UsageError("git does not know who commits", hint='git config user.name "…" && git config user.email "…"')
    if "untracked working tree files would be overwritten" in said:
        return ToolError("git", "files that are not tracked are in the way", hint=f"look into {made.path}")
    return failure("cherry-pick", 1, said, made.path)


def _end(repository: Repository, made: Worktree, present: list[str], book: _Book) -> PickResult:
    provenance.cite(repository, made)
    before, head = made.start, made.head
    picked = _made(made, before, head)
    source = made.picking
    branch, target = _short(made.branch), _short(made.target)
    if source is not None:
        files = made.unmerged() or made.staged()
        commit = history.commits(repository, [source])[0]
        needed = tuple(_prerequisites(repository, head, source, files))
        stop = Stop(commit, tuple(files), needed, made.path, _instead(repository, made, commit, book.path))
        return PickResult(Outcome.CONFLICT, branch, target, before, head, picked, tuple(present), stop)
    markers.check_commits(made, [(one.commit, one.source or before) for one in picked])
    if head == before:
        worktree.remove(repository, made)
        return PickResult(Outcome.PRESENT, branch, target, before, before, (), tuple(present))
    worktree.finish(repository, made, f"haulout backport pick onto {branch}")
    entered = record_writing.keep(repository, book.path, branch, picked, book.wanted, book.record)
    return PickResult(
        Outcome.PICKED,
        branch,
        target,
        before,
        head,
        picked,
        tuple(present),
        None,
        entered.paths,
        repository.remote(),
        entered.ids,
        entered.unwritten,
    )


def _made(made: Worktree, before: str, head: str) -> tuple[Picked, ...]:
    from haulout.backports.trailers import sources  # noqa: PLC0415

    found = []
    for line in decode(made.git.run("log", "--reverse", "-z", "--format=%H%n%B", f"{before}..{head}").out).split("\0"):
        if line.strip():
            oid, _, message = line.partition("\n")
            cited = sources(message)
            found.append(Picked(cited[-1].oid if cited else "", oid, message.partition("\n")[0]))
    return tuple(found)


def _under_way(repository: Repository, name: str) -> Worktree:
    """Return the worktree of the picks onto a branch."""
    short = name.removeprefix("refs/heads/")
    every = worktree.every(repository)
    plain = {f"refs/remotes/{remote}/{short}" for remote in repository.remotes()}
    into = [made for made in every if _short(made.target) == short]
    found = into or [made for made in every if _short(made.branch) == short or made.branch in plain]
    if not found:
        raise NotFoundError(f"no picks onto {name} are under way", hint=f"begin: {again(repository.path, name, 'FIX')}")
    if len({made.target for made in found}) > 1:
        raise UsageError(
            f"several picks from {name} are under way",
            hint=f"name the branch they go into: {', '.join(_short(made.target) for made in found)}",
        )
    # Several into one branch are left by runs at the same time; they go one by one.
    made = found[0]
    if not made.path.is_dir():
        raise _Gone(made, again(repository.path, name, "--abort"))
    return made


def _instead(repository: Repository, made: Worktree, source: Commit, book: Path | None) -> tuple[Commit, ...]:
    """Return the backport of a commit that would apply where the commit itself does not."""
    from haulout.backports.model import Fix  # noqa: PLC0415 - for conflicts alone
    from haulout.backports.status import Options, applying  # noqa: PLC0415

    known = records.load_all(book) if book is not None else ()
    record = next((one for one in known if one.holds(source.oid) and len(one.commits) == 1), None)
    fix = Fix(source.oid, (source,), record=record)
    try:
        found = applying(repository, fix, made.head, Options(ledger=book))
    except HauloutError:
        # A hint, and no more than that.
        return ()
    return tuple(history.commits(repository, [oid for oid in found if oid != source.oid]))


def _prerequisites(repository: Repository, branch: str, source: str, files: Sequence[str]) -> list[Commit]:
    """Return what touched the files before the source and is not on the branch, not even as a copy."""
    if not repository.find(f"{source}^"):
        return []
    return history.between(
        repository,
        "--right-only",
        "--cherry-pick",
        "--no-merges",
        f"--max-count={_MOST}",
        f"{branch}...{source}^",
        paths=files,
    )


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/remotes/")
