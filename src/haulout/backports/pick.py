"""Pick fixes onto a branch, in a temporary worktree: one commit a pick, all of them or none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from haulout.backports import history, preconditions, records, worktree
from haulout.backports.fix import resolve
from haulout.backports.git import decode, failure
from haulout.backports.ledger import path_of
from haulout.backports.model import Commit, Fix, Judged, Outcome, Picked, PickResult, Stop, StrPath
from haulout.backports.plan import Plan, Wishes, judge
from haulout.backports.provenance import note_conflicts, write_provenance
from haulout.backports.record_writing import check_records, write_records
from haulout.backports.repository import Branch, Repository, open_repository
from haulout.backports.suggestions import proposal, resume_command, topic_name
from haulout.backports.trailers import sources as cited_sources
from haulout.errors import ConflictError, HauloutError, NotFoundError, ToolError, UsageError
from haulout.progress import NullProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from haulout.backports.worktree import Worktree

_CONTINUE: Final = ("--continue", "--edit")
"""With an editor that changes nothing; without any, git takes lines of the message that begin with # away."""
_MOST: Final = 20
"""Prerequisites listed."""


def pick(  # noqa: PLR0913 - each is one word of the request
    lib: StrPath,
    branch: str,
    fixes: Sequence[str],
    *,
    ledger: StrPath | None = None,
    topic: str | None = None,
    direct: bool = False,
    mainline: int | None = None,
    record: str | None = None,
    signoff: bool = False,
    exact: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> PickResult:
    """Pick fixes onto a branch: into a new branch that starts there, or onto itself.

    What is picked is decided as ``status`` does: what is there is not picked again; where a commit of the fix
    conflicts and a known backport of it applies, that is picked. The branch moves when everything is picked, and not
    before. Where a pick conflicts, the result has a ``stop``; the worktree stays for people to resolve it, and
    :func:`resume_pick` or :func:`abort_pick` take it from there.

    Args:
        lib: the library's clone.
        branch: the branch.
        fixes: commits, merges, series, ids of records, or pull requests ``#N``.
        ledger: the ledger; the picks are added to its records.
        topic: name of the new branch; by default ``backport-FIX-to-BRANCH``.
        direct: move the branch itself.
        mainline: pick a merge commit as one, by its changes against this parent; else it is the commits it brought.
        record: the id of the record to create, where none has the fix.
        signoff: add a ``Signed-off-by`` line.
        exact: pick no backport in the place of a commit that conflicts.
        force: pick also what is there.
        progress: receives every commit.

    Raises:
        NotFoundError: there is no such clone, branch or fix.
        UsageError: a fix changes nothing, or ``topic`` cannot be a branch.
        ConflictError: picks onto that branch are in progress, or it is checked out somewhere.
    """
    asked = Asked(ledger, topic, direct, mainline, record, signoff, Wishes(force, exact))
    repository, wanted = begin(lib, fixes, asked)
    onto = repository.branch(branch)
    check_idle(repository, onto, wanted, asked)
    (plan,) = judge(repository, wanted, [onto], asked.wishes, mainline=mainline)
    return pick_planned(repository, plan, wanted, asked, progress)


@dataclass(frozen=True, slots=True)
class Asked:
    """How fixes are to be picked."""

    ledger: StrPath | None = None
    topic: str | None = None
    direct: bool = False
    mainline: int | None = None
    record: str | None = None
    signoff: bool = False
    wishes: Wishes = field(default_factory=Wishes)

    @property
    def options(self) -> list[str]:
        """Options of ``git cherry-pick``."""
        mainline = [f"--mainline={self.mainline}"] if self.mainline else []
        return ["-x", *(["--signoff"] if self.signoff else []), *mainline]


def begin(lib: StrPath, fixes: Sequence[str], asked: Asked) -> tuple[Repository, list[Fix]]:
    """Open the clone, find the fixes, and refuse what cannot be picked anywhere."""
    repository = open_repository(lib, offline=False)
    known = records.load_all(path_of(asked.ledger))
    wanted = [resolve(repository, one, known, mainline=asked.mainline) for one in dict.fromkeys(fixes)]
    sources = preconditions.sources_of(wanted)
    preconditions.check_sources(repository, sources, asked.mainline)
    check_records(path_of(asked.ledger), asked.record, sources)
    return repository, wanted


def check_idle(repository: Repository, onto: Branch, wanted: Sequence[Fix], asked: Asked) -> None:
    """Refuse to start where picks into the same branch are in progress."""
    topic = None if asked.direct else asked.topic or topic_name(onto, wanted)
    place = f"refs/heads/{topic or onto.name}"
    unfinished = worktree.find(repository, place)
    if unfinished is not None:
        raise ConflictError(
            f"picks onto {_short(place)} are in progress in {unfinished.path}",
            hint=f"{resume_command(repository.path, topic or onto.shown, '--continue')}; or --abort",
        )


def _earlier(repository: Repository, onto: Branch, wanted: Sequence[Fix], asked: Asked) -> PickResult | None:
    """Return the result where an earlier run has picked the same into the branch that would be created, or None."""
    name = topic_name(onto, wanted)
    found = next((one for one in repository.all_branches() if one.remote is None and one.name == name), None)
    if asked.direct or asked.topic is not None or found is None:
        return None
    (plan,) = judge(repository, wanted, [found], asked.wishes, mainline=asked.mainline)
    if plan.sources:
        return None
    return PickResult(
        Outcome.PRESENT, onto.shown, name, found.tip, found.tip, present=plan.present, judged=_judged(plan, wanted)
    )


def _judged(plan: Plan, wanted: Sequence[Fix]) -> tuple[Judged, ...]:
    return tuple(Judged(fix.name, cell.state, cell.evidence) for fix, cell in zip(wanted, plan.cells, strict=True))


def pick_planned(
    repository: Repository,
    plan: Plan,
    wanted: Sequence[Fix],
    asked: Asked,
    progress: Progress | None = None,
) -> PickResult:
    """Pick what was planned for a branch."""
    onto = plan.branch
    judged = _judged(plan, wanted)
    if not plan.sources:
        return PickResult(
            Outcome.PRESENT, onto.shown, onto.name, onto.tip, onto.tip, present=plan.present, judged=judged
        )
    earlier = _earlier(repository, onto, wanted, asked)
    if earlier is not None:
        return earlier
    topic = None if asked.direct else asked.topic or topic_name(onto, wanted)
    target = preconditions.target_of(repository, onto, topic)
    made = worktree.add(repository, onto.ref, target, onto.tip, plan.sources)
    if any(one.target == target and one.path != made.path for one in worktree.every(repository)):
        worktree.remove(repository, made.path)
        raise ConflictError(f"picks onto {_short(target)} were started at the same moment", hint="try again")
    singly = all(fix.whole is not None for fix in plan.fixes)
    options = (replace(asked, mainline=None) if singly else asked).options
    with (progress or NullProgress()).task("picking", len(plan.sources), unit="commits") as task:
        try:
            present = _run(made, [*options, *plan.sources], [])
            task.advance(len(plan.sources))
        except BaseException:
            worktree.remove(repository, made.path)
            raise
    recording = _Recording(path_of(asked.ledger), asked.record, plan.fixes, plan.instead)
    done = _end(repository, made, [*plan.present, *present], recording)
    return replace(done, judged=judged)


def resume_pick(lib: StrPath, branch: str, *, ledger: StrPath | None = None, record: str | None = None) -> PickResult:
    """Continue picks after a conflict was resolved and its files were staged; arguments as for :func:`pick`.

    Raises:
        NotFoundError: no picks onto that branch are in progress.
        ConflictError: files still have conflicts, or conflict markers.
    """
    repository = open_repository(lib, offline=False)
    book = path_of(ledger)
    check_records(book, record, None)
    made = _unfinished(repository, branch)
    present: list[str] = []
    source = made.picking
    write_provenance(repository, made)
    if source is None and made.left:
        preconditions.check_series(made)
        present = _run(made, _CONTINUE, [])
    elif source is None and made.head == made.start:
        raise ConflictError(
            f"nothing was picked in {made.path}: it was interrupted, or aborted with git",
            hint=f"start over: {resume_command(lib, branch, '--abort')}",
        )
    elif source is not None:
        preconditions.check_resolved(repository, made, source)
        staged = made.staged()
        if staged:
            note_conflicts(made)
        present = _run(made, _CONTINUE if staged else ["--skip"], [] if staged else [source])
    return _end(repository, made, present, _Recording(book, record, ()))


def abort_pick(lib: StrPath, branch: str) -> PickResult:
    """Abort picks in progress: the branch is as it was; the worktree is removed with what was done in it."""
    repository = open_repository(lib, offline=False)
    try:
        made = _unfinished(repository, branch)
    except _WorktreeGone as gone:
        worktree.remove(repository, gone.made.path)
        return PickResult(Outcome.ABORTED, _short(gone.made.branch), _short(gone.made.target), "", "")
    before = repository.find(made.target) or made.start
    worktree.remove(repository, made.path)
    return PickResult(Outcome.ABORTED, _short(made.branch), _short(made.target), before, before)


class _WorktreeGone(ConflictError):  # noqa: N818 - named by what is wrong, as in errors
    """The folder of a worktree was removed by hand."""

    def __init__(self, made: Worktree, hint: str) -> None:
        super().__init__(f"the worktree of the picks is gone: {made.path}", hint=hint)
        self.made = made


@dataclass(frozen=True, slots=True)
class _Recording:
    """Where picks are recorded."""

    ledger: Path | None
    record: str | None
    wanted: tuple[Fix, ...]
    instead: Mapping[str, str] = field(default_factory=dict)
    """Backports that are picked in the place of commits of the fixes, and these commits."""


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
            # No conflict, and still no commit: no committer is known, a hook refused, signing failed.
            raise _not_picked(made, done.err)
        present.append(source)
        arguments = ["--skip"]


def _not_picked(made: Worktree, err: str) -> Exception:
    said = err.strip()
    if "Please tell me who you are" in said or "unable to auto-detect email" in said or "empty ident name" in said:
        return UsageError("no committer is set", hint='git config user.name "…" && git config user.email "…"')
    if "untracked working tree files would be overwritten" in said:
        return ToolError("git", "untracked files would be overwritten", hint=f"see {made.path}")
    if "would be overwritten by merge" in said:
        # Git lists them, one a line, each after a tab.
        files = [line.strip() for line in said.split("\n") if line.startswith("\t")]
        return ConflictError(
            f"git takes {', '.join(files[:4])} for changed once checked out: .gitattributes asks for other content",
            hint="first commit what it asks for, such as line ends, on the branch: git add --renormalize .",
        )
    if "failed to sign" in said:
        return ToolError(
            "git", "the commit cannot be signed", hint="see user.signingKey; or do not: commit.gpgSign false"
        )
    return failure("cherry-pick", 1, said, made.path)


def _end(repository: Repository, made: Worktree, present: list[str], recording: _Recording) -> PickResult:
    write_provenance(repository, made)
    before, head = made.start, made.head
    picked = tuple(replace(one, of=recording.instead.get(one.source)) for one in _made(made, before, head))
    source = made.picking
    done = PickResult(Outcome.PRESENT, _short(made.branch), _short(made.target), before, head, picked, tuple(present))
    if source is not None:
        files = made.unmerged() or made.staged()
        commit = history.commits(repository, [source])[0]
        needed = tuple(_prerequisites(repository, head, source, files))
        instead = _instead(repository, head, commit, recording.ledger)
        stop = Stop(
            commit, tuple(files), needed, instead, made.path, made.unmerged_without(2), made.unmerged_without(3)
        )
        return replace(done, outcome=Outcome.CONFLICT, stop=stop)
    preconditions.check_commits(repository, made, [(one.commit, one.source or before) for one in picked])
    if head == before:
        worktree.remove(repository, made.path)
        return done
    worktree.finish(repository, made, f"haulout backport pick onto {done.branch}")
    fixes = [replace(one, source=one.of or one.source) for one in picked]
    written = write_records(repository, recording.ledger, done.branch, fixes, recording.wanted, recording.record)
    done = replace(
        done,
        outcome=Outcome.PICKED,
        recorded=written.paths,
        remote=repository.remote(),
        fixes=written.ids,
        unwritten=written.unwritten,
    )
    return replace(done, proposal=proposal(done))


def _made(made: Worktree, before: str, head: str) -> tuple[Picked, ...]:
    found = []
    for line in decode(made.git.run("log", "--reverse", "-z", "--format=%H%n%B", f"{before}..{head}").out).split("\0"):
        if line.strip():
            oid, _, message = line.partition("\n")
            cited = cited_sources(message)
            found.append(Picked(cited[-1].oid if cited else "", oid, message.partition("\n")[0]))
    return tuple(found)


def _unfinished(repository: Repository, name: str) -> Worktree:
    """Return the worktree of the picks onto a branch that are in progress."""
    short = name.removeprefix("refs/heads/")
    every = worktree.every(repository)
    plain = {f"refs/remotes/{remote}/{short}" for remote in repository.remotes()}
    into = [made for made in every if _short(made.target) == short]
    found = into or [made for made in every if _short(made.branch) == short or made.branch in plain]
    if not found:
        raise NotFoundError(
            f"no picks onto {name} are in progress", hint=f"start some: {resume_command(repository.path, name, 'FIX')}"
        )
    if len({made.target for made in found}) > 1:
        raise UsageError(
            f"several picks from {name} are in progress",
            hint=f"name the branch they go into: {', '.join(_short(made.target) for made in found)}",
        )
    # Several into one branch were left by runs at the same time; they are taken one by one.
    made = found[0]
    if not made.path.is_dir():
        raise _WorktreeGone(made, resume_command(repository.path, name, "--abort"))
    return made


def _instead(repository: Repository, onto: str, source: Commit, ledger: Path | None) -> tuple[Commit, ...]:
    """Return the backport of a commit that would apply where the commit itself does not."""
    from haulout.backports.survey import at_commits  # noqa: PLC0415 - only for conflicts

    known = records.load_all(ledger)
    record = next((one for one in known if one.holds(source.oid) and len(one.commits) == 1), None)
    fix = Fix(source.oid, (source,), record=record)
    try:
        found = at_commits(repository, fix, [onto], repository.mainline())[0].pick
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
