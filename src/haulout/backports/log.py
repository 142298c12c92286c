"""Where every commit of a branch since its base tag comes from, and what happened to it upstream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from haulout.backports import followups, history, records, stale_names
from haulout.backports.branch import base_of
from haulout.backports.ledger import load_ledger, path_of
from haulout.backports.naming import is_code, library_name
from haulout.backports.origins import Origin, find_origins, touched
from haulout.backports.repository import Branch, Repository, open_repository
from haulout.backports.trailers import reverted, same_commit
from haulout.documents import Document
from haulout.errors import NotFoundError
from haulout.progress import NullProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from haulout.backports.followups import FollowUp
    from haulout.backports.model import Commit, StrPath
    from haulout.backports.records import Record
    from haulout.backports.stale_names import Mention


class Kind(StrEnum):
    """The kind of a commit on a consumer branch."""

    PICK = "pick"
    REVERT = "revert"
    MERGE = "merge"
    """Of a pull request onto the branch itself."""
    MAINLINE = "merge of main"
    """Brings more than was picked."""
    UPKEEP = "upkeep"
    """Changes only OWNERS, CI and the like, which every branch has its own of."""
    OWN = "own"
    """No source was found."""


@dataclass(frozen=True, slots=True)
class Line(Document):
    """One commit of the branch."""

    json_members = ("*commit", "kind", "source=origin", "records", "later", "reverted_by", "range_diff", "flags")

    commit: Commit
    kind: Kind
    origin: Origin | None = None
    records: tuple[str, ...] = ()
    later: tuple[FollowUp, ...] = ()
    """What happened to its source on the main branch since."""
    reverted_by: str | None = None
    """A later commit on the branch that reverts it."""
    range_diff: str | None = None
    flags: tuple[str, ...] = ()
    """What a reviewer should look at, one line each; a branch with flags is not clean."""


@dataclass(frozen=True, slots=True)
class LogResult(Document):
    """The commits of a branch since its base."""

    json_members = (
        "branch=branch.shown",
        "tip=branch.tip",
        "base",
        "base_commit",
        "main=main.shown",
        "clean",
        "flags",
        "commits=lines",
        "mentions",
    )

    branch: Branch
    base: str
    base_commit: str
    main: Branch
    lines: tuple[Line, ...]
    """Oldest first."""
    flags: tuple[str, ...] = ()
    """About the branch as a whole."""
    mentions: tuple[Mention, ...] = ()
    """Files that still name another branch."""

    @property
    def clean(self) -> bool:
        """Whether nothing is flagged, and no file names another branch."""
        return not self.flags and not self.mentions and not any(line.flags for line in self.lines)


@dataclass(frozen=True, slots=True)
class _Context:
    repository: Repository
    main: Branch
    lines: Sequence[Commit]
    origins: dict[str, Origin]
    known: Sequence[Record]
    listed: bool
    range_diff: bool
    files: dict[str, tuple[str, ...]]


def log(
    lib: StrPath,
    branch: str,
    *,
    ledger: StrPath | None = None,
    base: str | None = None,
    main: str | None = None,
    range_diff: bool = False,
    progress: Progress | None = None,
) -> LogResult:
    """Find where every commit of a branch comes from.

    Args:
        lib: the library's clone.
        branch: the branch.
        ledger: the ledger; without it no commit is expected to be in a record.
        base: the tag it began at; by default the one in the ledger, or the last tag before it.
        main: the branch that fixes come from.
        range_diff: compare adapted picks with their sources, for a reviewer.
        progress: receives every commit.

    Raises:
        NotFoundError: there is no such clone, branch or tag, or no tag before it.
    """
    repository = open_repository(lib)
    book = path_of(ledger)
    here = repository.branch(branch)
    mainline = repository.mainline(main)
    known = records.load_all(book)
    tag, start, moved = _base(repository, here, book, base, main)
    flags = [moved] if moved else []
    if not repository.is_ancestor(start, here.tip):
        flags.append(f"{tag} is not in its history")
    commits = history.between(repository, "--reverse", "--topo-order", f"{start}..{here.tip}")
    origins = find_origins(repository, commits, mainline.tip, start)
    context = _Context(
        repository,
        mainline,
        commits,
        origins,
        known,
        book is not None and book.exists(),
        range_diff,
        touched(repository, [commit.oid for commit in commits]),
    )
    lines = []
    with (progress or NullProgress()).task("looking upstream", len(commits), unit="commits") as task:
        for commit in commits:
            lines.append(_line(context, commit))
            task.advance(1)
    flags += _incomplete(context)
    mentions = stale_names.scan(repository, here, mainline.name)
    return LogResult(here, tag, start, mainline, tuple(lines), tuple(flags), mentions)


def _base(
    repository: Repository, branch: Branch, ledger: Path | None, base: str | None, main: str | None
) -> tuple[str, str, str | None]:
    if base is not None:
        return base, repository.tags().get(base) or repository.resolve(base), None
    if ledger is not None:
        with repository.scratch_objects() as objects:
            name = library_name(repository, objects, branch.tip)
        entry = load_ledger(ledger).entry(name, branch.name)
        if entry is not None:
            start = repository.tags().get(entry.base)
            if start is None:
                raise NotFoundError(f"no tag {entry.base!r}, at which {branch.name} begins by the ledger")
            if entry.base_commit and not same_commit(entry.base_commit, start):
                return entry.base, start, f"{entry.base} was {entry.base_commit[:12]} when the branch was created"
            return entry.base, start, None
    start = base_of(repository, branch, main)
    if start is None:
        deepen = "this clone is shallow: git fetch --unshallow --tags; or " if repository.shallow else ""
        raise NotFoundError(f"no tag before {branch.shown}", hint=f"{deepen}give the tag it began at: --base TAG")
    tag = next((tag for tag, oid in repository.tags().items() if oid == start), start[:12])
    return tag, start, None


def _line(context: _Context, commit: Commit) -> Line:
    origin = context.origins.get(commit.oid)
    ids = _records_of(context.known, commit.oid, _sources(origin))
    undone = next((one.oid for one in context.lines if commit.oid in reverted(one.message)), None)
    kind = _kind(context, commit, origin)
    flags: list[str] = []
    later: tuple[FollowUp, ...] = ()
    shown = None
    if kind is Kind.MAINLINE:
        flags.append(f"merges {context.main.name}, which brings more than was picked")
    elif kind is Kind.OWN:
        flags.append("no source: not upstream first")
    elif kind is Kind.PICK and origin is not None:
        flags += _origin_flags(origin, context.main)
        flags += _left_out(context, commit, origin)
        if origin.oid is not None and origin.upstream:
            later = tuple(
                dict.fromkeys(
                    one
                    for oid in _sources(origin)
                    for one in followups.since(context.repository, oid, context.main.tip)
                    if one.commit.oid not in origin.squashed
                )
            )
            taken = [one.commit.oid for one in later if one.how == "reverts" and not _picked(context, one.commit.oid)]
            flags += [f"{oid[:12]} on {context.main.name} reverts its source" for oid in taken]
            if context.range_diff and not origin.equal:
                shown = _range_diff(context.repository, (origin.squashed or (origin.oid,))[0], origin.oid, commit.oid)
    if context.listed and kind in {Kind.PICK, Kind.OWN} and not ids:
        flags.append("it is in no fix record")
    return Line(commit, kind, origin, ids, later, undone, shown, tuple(flags))


def _left_out(context: _Context, commit: Commit, origin: Origin) -> list[str]:
    """Return a remark that a pick leaves out files of its source that the branch has."""
    if origin.oid is None or origin.equal:
        return []
    source = touched(context.repository, [oid for oid in _sources(origin) if oid])
    own = set(context.files.get(commit.oid, ()))
    names = {path.rpartition("/")[2] for path in own}
    every = dict.fromkeys(path for paths in source.values() for path in paths)
    # A file under another name there was not left out.
    missing = [path for path in every if path not in own and path.rpartition("/")[2] not in names and is_code(path)]
    there = [path for path in missing if context.repository.find_file(commit.oid, path)]
    return [f"leaves out {', '.join(there[:4])}, which its source changes"] if there else []


def _kind(context: _Context, commit: Commit, origin: Origin | None) -> Kind:
    if len(commit.parents) > 1:
        brought = context.repository.is_ancestor
        side = [parent for parent in commit.parents[1:] if brought(parent, context.main.tip)]
        return Kind.MAINLINE if side else Kind.MERGE
    undone = reverted(commit.message)
    if undone and origin is None:
        inside = any(same_commit(one, other.oid) for one in undone for other in context.lines)
        return Kind.REVERT if inside else Kind.OWN
    if origin is not None:
        return Kind.PICK
    files = context.files.get(commit.oid, ())
    return Kind.UPKEEP if files and all(stale_names.is_upkeep(path) for path in files) else Kind.OWN


def _origin_flags(origin: Origin, main: Branch) -> list[str]:
    if origin.oid is None:
        return [f"its source {origin.named[:12]} is not in this clone"]
    if not origin.upstream:
        return [f"its source {origin.oid[:12]} is not on {main.name}: not upstream first"]
    return []


def _picked(context: _Context, oid: str) -> bool:
    return any(oid in {origin.oid, *origin.squashed} for origin in context.origins.values())


def _sources(origin: Origin | None) -> tuple[str, ...]:
    if origin is None or origin.oid is None:
        return ()
    return origin.squashed or (origin.oid,)


def _records_of(known: Sequence[Record], commit: str, sources: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        record.id
        for record in known
        if any(same_commit(commit, one) for backport in record.backports for one in backport.commits)
        or any(record.holds(source) for source in sources)
    )


def _incomplete(context: _Context) -> list[str]:
    """Return the series of which only a part is on the branch: of records, and of pull requests merged upstream."""
    have = {oid for origin in context.origins.values() for oid in (origin.oid, *origin.squashed) if oid is not None}
    found = []
    for record in context.known:
        there = [one for one in record.commits if any(same_commit(one, oid) for oid in have)]
        if there and len(there) < len(record.commits):
            missing = [one[:12] for one in record.commits if one not in there]
            found.append(f"{record.id} is only partly picked: {', '.join(missing)} missing")
    listed = {oid for record in context.known for oid in record.commits}
    for merge, members in followups.pull_requests(context.repository, sorted(have), context.main.tip).items():
        missing = [one for one in members if one not in have and not any(same_commit(one, oid) for oid in listed)]
        # What belongs together, a record knows better than a pull request.
        known = any(same_commit(one, oid) for one in members if one in have for oid in listed)
        if missing and not known:
            names = ", ".join(one[:12] for one in missing[:6])
            found.append(f"the merge {merge[:12]} upstream brought more than was picked: {names}")
    return found


_CREATION: Final = "--creation-factor=1000"
"""Compare the two commits as one, however much was adapted."""


def _range_diff(repository: Repository, first: str, last: str, commit: str) -> str:
    return repository.git.text("range-diff", _CREATION, "--no-color", f"{first}^..{last}", f"{commit}^..{commit}")
