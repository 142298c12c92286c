"""Which fixes a release brings: what its notes and its update metadata list."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from haulout.backports import fix as fix_names
from haulout.backports import history, library, records
from haulout.backports.git import decode
from haulout.backports.gomod import GoMod, Version, pseudo_version
from haulout.backports.ledger import same_library
from haulout.backports.model import Fix, State
from haulout.backports.origins import find_origins
from haulout.backports.pin import find_pin, module_folder
from haulout.backports.purl import purl
from haulout.backports.repository import Branch, open_repository
from haulout.backports.status import at_commits
from haulout.backports.trailers import identifiers, reverted, same_commit
from haulout.errors import NotFoundError, UsageError
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from haulout.backports.model import Commit
    from haulout.backports.repository import Repository
    from haulout.backports.status import Options
    from haulout.progress import Progress


class Relation(StrEnum):
    """How the new release stands to the old in history."""

    NEWER = "newer"
    SAME = "same"
    OLDER = "older"
    """The new is in the past of the old: they were named the wrong way round, or it is a downgrade."""
    PARTED = "parted"
    """They are on two branches."""
    UNRELATED = "unrelated"
    """They have no commit in common, as far as this clone holds history."""


@dataclass(frozen=True, slots=True)
class Release:
    """The library at one end of the range."""

    name: str
    """As asked."""
    commit: str
    version: str
    purl: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """A fix, and how it is in the old and the new release."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    commits: tuple[str, ...]
    """Upstream, in order."""
    backports: tuple[str, ...]
    """The commits between that are it."""
    old: State
    new: State
    recorded: bool
    """A record says so; else a commit's message does."""


@dataclass(frozen=True, slots=True)
class FixesResult:
    """What a release brings."""

    library: str
    old: Release
    new: Release
    fixed: tuple[Delivered, ...]
    """Not there in the old, there in the new."""
    lost: tuple[Delivered, ...]
    """There in the old, and not in the new."""
    missing: tuple[Delivered, ...]
    """Recorded fixes that the new lacks, or may lack."""
    relation: Relation
    parted: str | None = None
    """Of parted releases, the last commit they share."""


def fixes(
    path: Path,
    series: str,
    options: Options,
    *,
    consumer: Path | None = None,
    module: str | None = None,
    progress: Progress | None = None,
) -> FixesResult:
    """List the fixes that are in a release and were not in the one before.

    What a record lists is looked for by content. What no record has counts where a commit between speaks of a CVE, GHSA
    or GO identifier and is not reverted.

    Args:
        path: the library's clone.
        series: ``OLD..NEW``: tags, branches or commits of the library, or of the consumer.
        options: where to look.
        consumer: a consumer's clone: OLD and NEW are its, and what counts is what it pins.
        module: the Go module; by default the one its go.mod declares.
        progress: is told of every fix.

    Raises:
        NotFoundError: there is no such clone, release or pin.
        UsageError: it is no range.
    """
    first, dots, last = series.partition("..")
    if not dots or not first or not last or last.startswith("."):
        raise UsageError(f"not a range: {series[:80]!r}", hint="write OLD..NEW, for example v1.0..v1.1")
    repository = open_repository(path)
    using = open_repository(consumer) if consumer is not None else None
    with repository.bench() as bench:
        names = [_commit(repository, using, name, module) for name in (first, last)]
        main = repository.mainline(options.main)
        declared = module or library.name(repository, bench, names[1][0])
    ends = [
        _release(repository, name, oid, version, declared)
        for name, (oid, version) in zip((first, last), names, strict=True)
    ]
    known = [
        record
        for record in (records.load_all(options.ledger) if options.ledger is not None else ())
        if not record.library or same_library(record.library, declared)
    ]
    wanted = [fix_names.of_record(repository, record) for record in known]
    wanted += _told(repository, ends[0].commit, ends[1].commit, main.tip, wanted)
    # Of two branches, the old may have what the new has not.
    brought = {fix.name for fix in wanted}
    back = _told(repository, ends[1].commit, ends[0].commit, main.tip, wanted)
    wanted += [fix for fix in back if fix.name not in brought]
    found = []
    with (progress or NullProgress()).task("looking at fixes", len(wanted), unit="fixes") as task:
        for fix in wanted:
            found.append(_delivered(repository, fix, ends, main, options))
            task.advance(1)
    there = {State.PRESENT}
    return FixesResult(
        declared,
        ends[0],
        ends[1],
        tuple(one for one in found if one.new in there and one.old not in {*there, State.NOT_AFFECTED}),
        tuple(one for one in found if one.old in there and one.new not in {*there, State.NOT_AFFECTED}),
        tuple(
            one
            for one in found
            if one.recorded and one.new not in {*there, State.NOT_AFFECTED} and one.old not in there
        ),
        *_relation(repository, ends[0].commit, ends[1].commit),
    )


def _relation(repository: Repository, old: str, new: str) -> tuple[Relation, str | None]:
    base = repository.merge_base(old, new)
    if base is None:
        return Relation.UNRELATED, None
    if old == new:
        return Relation.SAME, None
    if base in {old, new}:
        return Relation.NEWER if base == old else Relation.OLDER, None
    return Relation.PARTED, base


def _commit(repository: Repository, using: Repository | None, name: str, module: str | None) -> tuple[str, str | None]:
    """Return the library's commit at a release, and its version where a consumer pins it."""
    if using is None:
        return repository.resolve(name), None
    commit = using.resolve(name)
    raw = using.show(commit, "go.mod")
    if raw is None:
        raise NotFoundError(f"no go.mod in {using.path} at {name}")
    gomod = GoMod.parse(decode(raw))
    with repository.bench() as bench:
        wanted = module or library.name(repository, bench, repository.mainline().tip)
    if gomod.required(wanted) is None:
        raise NotFoundError(f"{using.path} at {name} does not require {wanted}", hint="name the module: --module PATH")
    pin = find_pin(repository, gomod, wanted)
    if pin.commit is None:
        raise NotFoundError(
            f"{using.path} at {name} pins {pin.shown}, which is not in {repository.path}", hint="fetch it"
        )
    return pin.commit, pin.version.text


def _release(repository: Repository, name: str, oid: str, version: str | None, module: str) -> Release:
    found = version or version_of(repository, oid, module)
    return Release(name, oid, found, purl(module, found, repository.url(), oid))


def version_of(repository: Repository, oid: str, module: str) -> str:
    """Return the version of a commit: that of its tag, or the pseudo-version Go would give it."""
    folder = module_folder(repository, module) if "/" in module else ""
    tags = [
        tag.removeprefix(folder)
        for tag, commit in repository.tags().items()
        if commit == oid and tag.startswith(folder)
    ]
    versions = [tag for tag in tags if tag.startswith("v") and tag[1:2].isdigit()]
    if versions or tags:
        return max(versions or tags)
    said = repository.git.run("describe", "--tags", "--abbrev=0", f"--match={folder}v[0-9]*", oid, ok=(0, 128))
    base = said.text.removeprefix(folder) if said.code == 0 else None
    if base is None and repository.shallow:
        raise NotFoundError(
            f"what version {oid[:12]} is cannot be told: this shallow clone ends before any tag",
            hint="git fetch --unshallow --tags",
        )
    committed = history.commits(repository, [oid])[0].committed
    return pseudo_version(base if base and Version.parse(base).commit is None else None, oid, committed)


def _told(repository: Repository, old: str, new: str, main: str, recorded: Sequence[Fix]) -> list[Fix]:
    """Return the fixes that only messages speak of, by identifier.

    A backport often lost the line that names it; then the message of the upstream commit it was made from counts.
    """
    between = history.between(repository, "--reverse", "--topo-order", "--no-merges", f"{old}..{new}")
    undone = [oid for commit in between for oid in reverted(commit.message)]
    known = {name.casefold() for fix in recorded if fix.record for name in (fix.record.id, *fix.record.aliases)}
    upstream = _upstream(repository, between, old, new, main)
    by_id: dict[str, list[Commit]] = {}
    for commit in between:
        if reverted(commit.message) or any(same_commit(oid, commit.oid) for oid in undone):
            continue
        sources = upstream.get(commit.oid, ())
        speaking = [one for one in sources if identifiers(one.message)]
        if identifiers(commit.message):
            # What the pick itself names, its source is; of several, those that name it too.
            speaking = speaking or [sources[-1] if sources else commit]
        for one in speaking:
            names = identifiers(one.message) or identifiers(commit.message)
            if not any(name.casefold() in known for name in names):
                by_id.setdefault(names[0], []).append(one)
    return [Fix(name, tuple(dict.fromkeys(commits))) for name, commits in by_id.items()]


def _upstream(
    repository: Repository, between: Sequence[Commit], old: str, new: str, main: str
) -> dict[str, tuple[Commit, ...]]:
    """Return the upstream commits that those of a branch were made from: of a merge also those that it brought."""
    branch_only = set(repository.revisions("--no-merges", new, f"^{old}", f"^{main}"))
    own = [commit for commit in between if commit.oid in branch_only]
    fork = repository.merge_base(new, main)
    origins = find_origins(repository, own, main, fork) if own and fork else {}
    found: dict[str, tuple[Commit, ...]] = {}
    for oid, origin in origins.items():
        if origin.oid is None or not origin.upstream:
            continue
        sources = history.commits(repository, origin.squashed or (origin.oid,))
        for one in sources:
            if len(one.parents) > 1:
                brought = history.between(repository, "--reverse", "--no-merges", f"{one.parents[0]}..{one.oid}")
                found[oid] = (*found.get(oid, ()), *brought)
        found[oid] = (*found.get(oid, ()), *sources)
    return found


def _delivered(repository: Repository, fix: Fix, ends: Sequence[Release], main: Branch, options: Options) -> Delivered:
    old, new = at_commits(repository, fix, [end.commit for end in ends], main, options)
    carriers = [
        one.commit
        for one in new.evidence
        if one.commit is not None and one.signal not in {"content", "revert", "clone", "introduced-in"}
    ]
    record = fix.record
    told = [one for commit in fix.commits for one in identifiers(commit.message)]
    aliases = record.aliases if record else tuple(one for one in dict.fromkeys(told) if one != fix.name)
    return Delivered(
        record.id if record else fix.name,
        aliases,
        fix.title,
        (*(commit.oid for commit in fix.commits), *fix.unknown),
        tuple(dict.fromkeys(carriers)),
        old.state,
        new.state,
        record is not None,
    )
