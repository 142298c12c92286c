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
from haulout.backports.model import Patch
from haulout.backports.naming import is_code
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.origins import touched
from haulout.backports.patches import patch_ids, patch_of
from haulout.backports.recognise import SQUASH, Candidate, candidates, covers, pieces
from haulout.backports.reverts import Undoing, undoings
from haulout.backports.trailers import same_commit
from haulout.errors import ContentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from haulout.backports.history import Walk
    from haulout.backports.model import Commit, Fix
    from haulout.backports.renames import Renames
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
    squash: tuple[tuple[str, ...], ...] = ()
    """For each commit that its message says were squashed into it, those that may be it."""

    @property
    def carriers(self) -> tuple[str, ...]:
        """The commits whose presence in history is evidence for the fix."""
        return (self.commit.oid, *(one.commit.oid for one in self.candidates if not one.partial))

    @property
    def parts(self) -> frozenset[str]:
        """The commits that do only a part of it."""
        return frozenset(one.commit.oid for one in self.candidates if one.partial)

    def signals(self, oid: str) -> tuple[str, ...]:
        """Return what a commit was recognised by."""
        if oid == self.commit.oid:
            return ("ancestor",)
        return next((one.signals for one in self.candidates if one.commit.oid == oid), ())

    def sure(self, variant: Variant) -> bool:
        """Whether a variant may be picked in the place of the commit."""
        return any(one.sure for one in self.candidates if one.commit.oid in variant.commits)


@dataclass(frozen=True, slots=True)
class Context:
    """Where variants are looked for."""

    repository: Repository
    objects: ScratchObjects
    renames: Renames
    tips: tuple[str, ...]
    """Of all branches."""
    main: str
    mainline: int
    """Of merges, the parent they went onto."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that is known of a fix before any branch is looked at."""

    walk: Walk
    units: tuple[Unit, ...]
    """Its commits, without those that change none of its files."""
    merge: Unit | None
    """The merge, or the squash, by which they came in."""


def gather(context: Context, fix: Fix) -> Gathered:
    """Walk history once, and find every variant of each commit of a fix."""
    repository = context.repository
    wanted = [*fix.commits, *([fix.whole] if fix.whole is not None else [])]
    oids = [commit.oid for commit in wanted]
    tips = [*context.tips, context.main]
    globs = fix.record.paths if fix.record else ()
    made = [patch_of(context.objects, oid, mainline=context.mainline, paths=globs) for oid in oids]
    before = _before(context, oids)
    # Both are git's work, on different commits: side by side.
    with ThreadPoolExecutor(2) as pool:
        walking = pool.submit(history.walk, repository, tips, before) if oids else None
        ids = _all_patch_ids(context, wanted, made)
        walk = walking.result() if walking else history.Walk((), {})
    if made and not any(one is None or one.changes for one in made):
        reason = f"none of its files matches {', '.join(globs)}" if globs else "it changes nothing"
        raise UsageError(f"{fix.name} is not a fix: {reason}")
    walked = list(walk.commits)
    here = {commit.oid for commit in walked}
    # A commit that no branch reaches is still a variant of itself.
    listed = [oid for name in _listed(fix) if (oid := repository.find(name)) is not None]
    walked += history.commits(repository, [oid for oid in dict.fromkeys(listed) if oid not in here])
    units = [_unit(context, fix, *one, walked) for one in zip(wanted, made, ids, strict=True)]
    merge = units.pop() if fix.whole is not None else None
    return Gathered(walk, tuple(unit for unit in units if unit.patch is None or unit.patch.changes), merge)


_SOME: Final = 8
"""Files of a commit by one of which its copies are looked for."""
_FEW: Final = 3
"""Commits of which each has its patch-ids over its own files; of more, it is over the files of all."""


def _all_patch_ids(
    context: Context, commits: Sequence[Commit], made: Sequence[Patch | None]
) -> list[tuple[dict[str, str], str | None]]:
    """Return, for each commit, the patch-ids of what may be copies of it, and its own."""
    stops = [_stops(context, commit) for commit in commits]
    if len(commits) <= _FEW:
        return [_patch_ids(context, *one) for one in zip(commits, made, stops, strict=True)]
    paths = _paths([one for one in made if one is not None])
    some = sorted({min(here) for one in made if one is not None and (here := one.paths & set(paths))})
    known, _ = _patch_ids(context, commits[0], Patch((), made[0].changes if made[0] else ()), stops[0], paths, some)
    try:
        own = patch_ids(context.repository, context.objects, [commit.oid for commit in commits], paths)
    except ContentError:
        own = {}
    return [(known, own.get(commit.oid)) for commit in commits]


def _paths(patches: Sequence[Patch]) -> list[str]:
    """Return the files of patches without copies of other people's code, unless there is nothing else."""
    every = sorted({path for one in patches for path in one.paths})
    return [path for path in every if not path.startswith(f"{history.VENDOR}/")] or every


def _stops(context: Context, commit: Commit) -> list[str]:
    """Return where to stop looking for copies of a commit: at main, where they come from."""
    if context.repository.is_ancestor(commit.oid, context.main):
        return [context.main, commit.oid]
    return [parent for parent in commit.parents if context.objects.has(parent)]


def _patch_ids(
    context: Context,
    commit: Commit,
    patch: Patch | None,
    stops: Sequence[str],
    of: Sequence[str] = (),
    touching: Sequence[str] = (),
) -> tuple[dict[str, str], str | None]:
    """Return the patch-ids of what may be copies of a commit, and its own; over its files, or those given."""
    if patch is None or not patch.changes:
        return {}, None
    paths = of or _paths([patch])
    try:
        here = (context.repository, context.objects)
        own = patch_ids(*here, [commit.oid], paths).get(commit.oid)
        # A copy touches them all, but those of which only the mode changes; and git is slow with thousands of names.
        near = history.touching(context.repository, context.tips, stops, touching or paths[:_SOME])
        return patch_ids(*here, near, paths), own
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
    listed = pieces(commit, walked)
    known = {one.commit.oid for one in found}
    found += [
        Candidate(one, (SQUASH,), partial=True) for some in listed.values() for one in some if one.oid not in known
    ]
    carriers = [commit, *(one.commit for one in found)]
    names = {path.rpartition("/")[2] for path in (patch.paths if patch else ())}

    def concerned(oids: Sequence[str]) -> set[str]:
        files = touched(context.repository, oids)
        return {oid for oid, paths in files.items() if names & {path.rpartition("/")[2] for path in paths}}

    undone = undoings(walked, carriers, concerned)
    squash = tuple(tuple(one.oid for one in some) for some in listed.values())
    return Unit(commit, patch, variants, tuple(found), tuple(undone), squash)


def _with_record(fix: Fix, commit: Commit, walked: Sequence[Commit], found: Sequence[Candidate]) -> list[Candidate]:
    """Add the backports that the record lists, in the place of the unit where it lists as many as there are units."""
    by_oid = {one.commit.oid: one for one in found}
    if commit == fix.whole:
        return list(by_oid.values())
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
        partial = variant is not None and patch is not None and not listed and not _covers(context, variant, patch)
        judged.append(replace(candidate, partial=partial))
        if variant is not None and variant.changes and not partial:
            by_changes.setdefault(variant.changes, []).append((variant, oid))
    variants = (Variant(members[0][0], tuple(oid for _, oid in members)) for members in by_changes.values())
    return judged, tuple(variants)


def _covers(context: Context, variant: Patch, fix: Patch) -> bool:
    objects = context.objects
    try:
        tree = objects.commit(variant.commits[0]).tree
        if not covers(variant, fix, lambda path: objects.at(tree, path) is not None):
            return False
        unclear = tuple(
            change
            for change in fix.changes
            if change.path not in variant.paths
            and change.old is not None
            and is_code(change.path)
            and objects.at(tree, change.path) is None
        )
        if unclear:
            context.renames.search(Patch(fix.commits, unclear), {tree: variant.commits[0]})
        places = [context.renames.find(tree, change.path) for change in unclear]
    except MissingObject:
        return False
    return all(place is None or place in variant.paths for place in places)


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
