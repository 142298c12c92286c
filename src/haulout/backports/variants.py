"""The variants a fix has: the upstream commit, and every backport of it that is known or recognised.

Tried on its own, an upstream commit conflicts with most old branches. One backport as a further variant classifies them
all.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout.backports import history
from haulout.backports.git import decode, encode
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.patches import patch_of
from haulout.backports.recognise import Candidate, Undoing, candidates, covers, undoings
from haulout.backports.trailers import same_commit
from haulout.errors import ContentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from haulout.backports.history import Walk
    from haulout.backports.model import Commit, Fix, Patch
    from haulout.backports.repository import Repository

_ALIKE: Final = 0.5
"""Part of the lines a commit adds that another must share to be the same change."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of a commit, and the commits that have it."""

    patch: Patch
    commits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """One commit of a fix, with all that is known of it."""

    commit: Commit
    patch: Patch | None
    """None: this clone does not hold everything that it changes."""
    variants: tuple[Variant, ...]
    """The upstream commit's first."""
    candidates: tuple[Candidate, ...]
    undoings: tuple[Undoing, ...]

    @property
    def carriers(self) -> tuple[str, ...]:
        """The commits whose presence in history is evidence for the fix."""
        return (self.commit.oid, *(one.commit.oid for one in self.candidates if not one.partial))

    def signals(self, oid: str) -> tuple[str, ...]:
        """Return what a commit was recognised by."""
        if oid == self.commit.oid:
            return ("ancestor",)
        return next((one.signals for one in self.candidates if one.commit.oid == oid), ())


@dataclass(frozen=True, slots=True)
class Context:
    """Where variants are looked for."""

    repository: Repository
    objects: ScratchObjects
    tips: tuple[str, ...]
    """Of all branches."""
    main: str
    mainline: int
    """Of merges, the parent they went onto."""


def gather(context: Context, fix: Fix) -> tuple[Walk, list[Unit]]:
    """Walk history once, and find every variant of each commit of a fix."""
    repository = context.repository
    oids = [commit.oid for commit in fix.commits]
    tips = [*context.tips, context.main]
    globs = fix.record.paths if fix.record else ()
    made = [patch_of(context.objects, oid, mainline=context.mainline, paths=globs) for oid in oids]
    stops = [_stops(context, commit) for commit in fix.commits]
    before = _before(context, oids)
    # Both are git's work, on different commits: side by side.
    with ThreadPoolExecutor(2) as pool:
        walking = pool.submit(history.walk, repository, tips, before) if oids else None
        asked = [pool.submit(_patch_ids, context, *one) for one in zip(fix.commits, made, stops, strict=True)]
        walk = walking.result() if walking else history.Walk((), {})
        ids = [one.result() for one in asked]
    if made and not any(one is None or one.changes for one in made):
        reason = f"none of its files matches {', '.join(globs)}" if globs else "it changes nothing"
        raise UsageError(f"{fix.name} is not a fix: {reason}")
    walked = list(walk.commits)
    here = {commit.oid for commit in walked}
    # A commit that no branch reaches is still a variant of itself.
    listed = [oid for name in _listed(fix) if (oid := repository.find(name)) is not None]
    walked += history.commits(repository, [oid for oid in dict.fromkeys(listed) if oid not in here])
    units = [_unit(context, fix, *one, walked) for one in zip(fix.commits, made, ids, strict=True)]
    return walk, [unit for unit in units if unit.patch is None or unit.patch.changes]


def _stops(context: Context, commit: Commit) -> list[str]:
    """Return where to stop looking for copies of a commit: at main, where they come from."""
    if context.repository.is_ancestor(commit.oid, context.main):
        return [context.main, commit.oid]
    return [parent for parent in commit.parents if context.objects.has(parent)]


def _patch_ids(
    context: Context, commit: Commit, patch: Patch | None, stops: Sequence[str]
) -> tuple[dict[str, str], str | None]:
    """Return the patch-ids of what may be copies of a commit, and its own."""
    if patch is None or not patch.changes:
        return {}, None
    paths = sorted(path for path in patch.paths if not path.startswith(f"{history.VENDOR}/")) or sorted(patch.paths)
    try:
        own = history.patch_ids_of(context.repository, [commit.oid], paths).get(commit.oid)
        return history.patch_ids(context.repository, context.tips, stops, paths), own
    except ContentError:
        # Not all contents are in this clone: one signal less.
        return {}, None


def _before(context: Context, oids: Sequence[str]) -> list[str]:
    """Return where a walk may stop, so that every descendant of every commit is in it."""
    base = next(iter(oids), "")
    if len(oids) > 1:
        base = context.repository.git.run("merge-base", "--octopus", *oids, ok=(0, 1)).text
    if not base:
        return []
    return [parent for parent in context.objects.commit(base).parents if context.objects.has(parent)]


def _listed(fix: Fix) -> Iterator[str]:
    for backport in fix.record.backports if fix.record else ():
        yield from backport.commits


def _unit(
    context: Context,
    fix: Fix,
    commit: Commit,
    patch: Patch | None,
    ids: tuple[dict[str, str], str | None],
    walked: Sequence[Commit],
) -> Unit:
    found: list[Candidate] = []
    if patch is not None:
        found = candidates(
            commit,
            walked,
            patch_ids=ids[0],
            patch_id=ids[1],
            alike=lambda doubtful: _alike(context.repository, commit, doubtful),
        )
    found = _with_record(fix, commit, walked, found)
    found, variants = _variants(context, fix, patch, found)
    carriers = [commit, *(one.commit for one in found)]
    return Unit(commit, patch, variants, tuple(found), tuple(undoings(walked, carriers)))


def _with_record(fix: Fix, commit: Commit, walked: Sequence[Commit], found: Sequence[Candidate]) -> list[Candidate]:
    """Add the backports that the record lists, in the place of the unit where it lists as many as there are units."""
    by_oid = {one.commit.oid: one for one in found}
    place = [one.oid for one in fix.commits].index(commit.oid)
    for backport in fix.record.backports if fix.record else ():
        whole = len(fix.commits) == 1
        paired = len(backport.commits) == len(fix.commits) + len(fix.unknown) and not fix.unknown
        names = backport.commits if whole else backport.commits[place : place + 1] if paired else ()
        for name in names:
            for one in walked:
                if same_commit(one.oid, name) and one.oid != commit.oid:
                    before = by_oid.get(one.oid)
                    signals = (*(before.signals if before else ()), "record")
                    by_oid[one.oid] = Candidate(one, signals)
    return list(by_oid.values())


def _variants(
    context: Context, fix: Fix, patch: Patch | None, found: Sequence[Candidate]
) -> tuple[list[Candidate], tuple[Variant, ...]]:
    """Return the candidates, those that are only a part of the fix marked, and the variants of all others."""
    globs = fix.record.paths if fix.record else ()
    by_changes: dict[object, list[tuple[Patch, str]]] = {}
    if patch is not None and patch.changes:
        by_changes[patch.changes] = [(patch, patch.commits[0])]
    judged = []
    for candidate in found:
        oid = candidate.commit.oid
        variant = patch_of(context.objects, oid, mainline=context.mainline, paths=globs)
        listed = "record" in candidate.signals
        partial = (
            variant is not None and patch is not None and not listed and not _covers(context.objects, variant, patch)
        )
        judged.append(replace(candidate, partial=partial))
        if variant is not None and variant.changes and not partial:
            by_changes.setdefault(variant.changes, []).append((variant, oid))
    variants = (Variant(members[0][0], tuple(oid for _, oid in members)) for members in by_changes.values())
    return judged, tuple(variants)


def _covers(objects: ScratchObjects, variant: Patch, fix: Patch) -> bool:
    try:
        tree = objects.commit(variant.commits[0]).tree
        return covers(variant, fix, lambda path: objects.at(tree, path) is not None)
    except MissingObject:
        return False


def _alike(repository: Repository, unit: Commit, doubtful: Sequence[Commit]) -> set[str]:
    """Return which commits change at least half of the lines that the unit changes, wherever these lines are."""
    try:
        changed = _changed_lines(repository, [unit.oid, *(commit.oid for commit in doubtful)])
    except ContentError:
        # Their contents are not in this clone, so there is nothing to compare.
        return set()
    every = changed.get(unit.oid, set())
    # Two changes of one line differ in what they add.
    own = {line for line in every if line.startswith("+")} or every
    return {oid for oid, lines in changed.items() if own and len(lines & own) >= _ALIKE * len(own)} - {unit.oid}


def _changed_lines(repository: Repository, oids: Sequence[str]) -> dict[str, set[str]]:
    how = (
        "--no-walk=unsorted",
        "--patch",
        "--unified=0",
        "--no-ext-diff",
        "--no-textconv",
        "--diff-merges=first-parent",
    )
    where = ("--stdin", "--", ":(top)", f":(top,exclude){history.VENDOR}")
    out = repository.git.run("log", *how, "--format=commit %H", *where, stdin=encode("\n".join(oids) + "\n")).out
    found: dict[str, set[str]] = {}
    lines: set[str] = set()
    for line in decode(out).split("\n"):
        if line.startswith("commit "):
            lines = found.setdefault(line[7:], set())
        elif line[:1] in {"+", "-"} and not line.startswith(("+++ ", "--- ")) and line[1:].strip():
            lines.add(line[0] + line[1:].strip())
    return found
