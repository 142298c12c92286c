"""Which fixes a release brings: what its notes and its update metadata list."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from haulout.backports import history, records
from haulout.backports.fix import of_record
from haulout.backports.gomod import Version, pseudo_version
from haulout.backports.ledger import path_of, same_library
from haulout.backports.model import Commit, Fix, State, StrPath
from haulout.backports.naming import library_name, purl
from haulout.backports.origins import find_origins
from haulout.backports.pin import find_pin, gomod_at, module_folder
from haulout.backports.repository import Branch, Repository, open_repository
from haulout.backports.survey import at_commits
from haulout.backports.trailers import fixed_identifiers, identifiers, reverted, same_commit
from haulout.documents import Document
from haulout.errors import NotFoundError, UsageError
from haulout.progress import NullProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class Relation(StrEnum):
    """How the new release is related to the old one in history."""

    NEWER = "newer"
    SAME = "same"
    OLDER = "older"
    """The new is in the past of the old: they were given in the wrong order, or it is a downgrade."""
    PARTED = "parted"
    """They are on two branches."""
    UNRELATED = "unrelated"
    """They have no commit in common, as far as this clone holds history."""


@dataclass(frozen=True, slots=True)
class Release(Document):
    """The library at one end of the range."""

    name: str
    """As given."""
    commit: str
    version: str
    purl: str


@dataclass(frozen=True, slots=True)
class Delivered(Document):
    """A fix, and its state in the old and the new release."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    purl: str
    """Of the new release, as its version."""
    version: str
    commits: tuple[str, ...]
    """Upstream, in order."""
    backports: tuple[str, ...]
    """The commits in between that are the fix."""
    old: State
    new: State
    recorded: bool
    """By a record; otherwise by a commit's message."""


@dataclass(frozen=True, slots=True)
class MentionedFix(Document):
    """A security identifier that messages only mention."""

    json_members = ("id", "commits")

    id: str
    commits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FixesResult(Document):
    """The fixes that a release brings."""

    json_members = ("library", "old", "new", "relation", "fixes=fixed", "lost", "missing", "mentioned")

    library: str
    old: Release
    new: Release
    fixed: tuple[Delivered, ...]
    """Not in the old, in the new."""
    lost: tuple[Delivered, ...]
    """In the old, and not in the new."""
    missing: tuple[Delivered, ...]
    """Recorded fixes that the new lacks, or may lack."""
    relation: Relation
    parted: str | None = None
    """Of parted releases, the last commit they share."""
    mentioned: tuple[MentionedFix, ...] = ()
    """What messages in between mention without saying that they fix it."""


def fixes(
    lib: StrPath,
    series: str,
    *,
    ledger: StrPath | None = None,
    main: str | None = None,
    consumer: StrPath | None = None,
    module: str | None = None,
    progress: Progress | None = None,
) -> FixesResult:
    """List the fixes that are in a release and were not in the one before.

    Fixes with a record are found by content. Others count where a commit in between says that it fixes a CVE, GHSA or
    GO identifier, in its subject, in a trailer or in a line of its own, and is not reverted.

    Args:
        lib: the library's clone.
        series: ``OLD..NEW``: tags, branches or commits of the library, or of the consumer.
        ledger: the ledger, beside which the records are.
        main: the branch that fixes come from.
        consumer: a consumer's clone: OLD and NEW are its, and what counts is what it pins.
        module: the Go module; by default the one its go.mod declares.
        progress: receives every fix.

    Raises:
        NotFoundError: there is no such clone, release or pin.
        UsageError: it is not a range.
    """
    first, dots, last = series.partition("..")
    if not dots or not first or not last or last.startswith("."):
        raise UsageError(f"not a range: {series[:80]!r}", hint="write OLD..NEW, for example v1.0..v1.1")
    repository = open_repository(lib)
    using = open_repository(consumer) if consumer is not None else None
    with repository.scratch_objects() as objects:
        names = [_commit(repository, using, name, module) for name in (first, last)]
        mainline = repository.mainline(main)
        declared = module or library_name(repository, objects, names[1][0])
    ends = [
        _release(repository, name, oid, version, declared)
        for name, (oid, version) in zip((first, last), names, strict=True)
    ]
    known = [
        record
        for record in records.load_all(path_of(ledger))
        if not record.library or same_library(record.library, declared)
    ]
    wanted = [of_record(repository, record) for record in known]
    recorded = {name.casefold() for fix in wanted if fix.record for name in (fix.record.id, *fix.record.aliases)}
    named = _from_messages(repository, ends[0].commit, ends[1].commit, mainline.tip, recorded)
    # Of two branches, the old may have what the new has not.
    back = _from_messages(repository, ends[1].commit, ends[0].commit, mainline.tip, recorded)
    brought = named.found()
    wanted += [*brought, *(fix for fix in back.found() if fix.name not in {one.name for one in brought})]
    aliases = back.aliases | named.aliases
    found = []
    with (progress or NullProgress()).task("checking fixes", len(wanted), unit="fixes") as task:
        for fix in wanted:
            found.append(_delivered(repository, fix, ends, mainline, aliases.get(fix.name, ())))
            task.advance(1)
    present, good = State.PRESENT, {State.PRESENT, State.NOT_AFFECTED}
    return FixesResult(
        declared,
        ends[0],
        ends[1],
        tuple(one for one in found if one.new is present and one.old not in good),
        tuple(one for one in found if one.old is present and one.new not in good),
        tuple(one for one in found if one.recorded and one.new not in good and one.old is not present),
        *_relation(repository, ends[0].commit, ends[1].commit),
        _mentioned(named, recorded, aliases, [fix.name for fix in wanted]),
    )


def _mentioned(
    named: _Named, recorded: Collection[str], aliases: Mapping[str, Sequence[str]], fixed: Sequence[str]
) -> tuple[MentionedFix, ...]:
    other = {*fixed, *(one for some in aliases.values() for one in some)}
    return tuple(
        MentionedFix(name, tuple(commits))
        for name, commits in named.mentioned.items()
        if name not in other and name.casefold() not in recorded
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
    gomod = gomod_at(using, commit, name)
    with repository.scratch_objects() as objects:
        wanted = module or library_name(repository, objects, repository.mainline().tip)
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
    tag = repository.git.run("describe", "--tags", "--abbrev=0", f"--match={folder}v[0-9]*", oid, ok=(0, 128))
    base = tag.text.removeprefix(folder) if tag.code == 0 else None
    if base is None and repository.shallow:
        raise NotFoundError(
            f"cannot determine the version of {oid[:12]}: this shallow clone ends before any tag",
            hint="git fetch --unshallow --tags",
        )
    committed = history.commits(repository, [oid])[0].committed
    return pseudo_version(base if base and Version.parse(base).commit is None else None, oid, committed)


@dataclass(slots=True)
class _Named:
    """What messages say of fixes that no record has."""

    fixes: dict[str, list[Commit]] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    mentioned: dict[str, list[str]] = field(default_factory=dict)
    """Identifiers that nothing is said to fix, and the commits that mention them."""

    def add(self, commit: Commit, names: Sequence[str]) -> None:
        """Add that a commit fixes what identifiers stand for: each CVE is a fix of its own, others are its aliases."""
        every = [one for one in names if one.startswith("CVE-")] or list(names[:1])
        others = [one for one in names if one not in every]
        for name in every:
            commits = self.fixes.setdefault(name, [])
            if commit not in commits:
                commits.append(commit)
            known = self.aliases.setdefault(name, [])
            known += [one for one in others if len(every) == 1 and one not in known]

    def found(self) -> list[Fix]:
        """Return the fixes; what is another's alias is that fix."""
        for name, aliases in self.aliases.items():
            for alias in aliases:
                self.fixes[name] += [one for one in self.fixes.pop(alias, []) if one not in self.fixes[name]]
        return [Fix(name, tuple(commits)) for name, commits in self.fixes.items()]


def _from_messages(repository: Repository, old: str, new: str, main: str, recorded: Collection[str]) -> _Named:
    """Return the fixes that only messages name, by identifier.

    A backport often lost the line that names it; then the message of the upstream commit it was made from counts.
    """
    between = history.between(repository, "--reverse", "--topo-order", "--no-merges", f"{old}..{new}")
    undone = [oid for commit in between for oid in reverted(commit.message)]
    upstream = _upstream(repository, between, old, new, main)
    named = _Named()
    for commit in between:
        if reverted(commit.message) or any(same_commit(oid, commit.oid) for oid in undone):
            continue
        sources = upstream.get(commit.oid, ())
        naming = [one for one in sources if fixed_identifiers(one.message)]
        if fixed_identifiers(commit.message):
            # What the pick itself names, its source is; of several, those that name it too.
            naming = naming or [sources[-1] if sources else commit]
        for one in naming:
            names = fixed_identifiers(one.message) or fixed_identifiers(commit.message)
            if not any(name.casefold() in recorded for name in names):
                named.add(one, names)
        for name in dict.fromkeys(name for one in (commit, *sources) for name in identifiers(one.message)):
            named.mentioned.setdefault(name, []).append(commit.oid)
    return named


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


def _delivered(
    repository: Repository, fix: Fix, ends: Sequence[Release], main: Branch, aliases: Sequence[str]
) -> Delivered:
    old, new = at_commits(repository, fix, [end.commit for end in ends], main)
    carriers = [
        one.commit
        for one in new.evidence
        if one.commit is not None and one.signal not in {"content", "revert", "clone", "introduced-in"}
    ]
    record = fix.record
    return Delivered(
        record.id if record else fix.name,
        record.aliases if record else tuple(aliases),
        fix.title,
        ends[1].purl,
        ends[1].version,
        fix.oids,
        tuple(dict.fromkeys(carriers)),
        old.state,
        new.state,
        record is not None,
    )
