"""Judge branches for fixes: the one place where ``status``, ``pick`` and ``fixes`` learn what is where."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from haulout.backports import history
from haulout.backports.attributes import Attributes
from haulout.backports.classification import Classification
from haulout.backports.explain import attempted, evidence, left_out
from haulout.backports.introduced import Introduced
from haulout.backports.lines import Lines
from haulout.backports.merging import Merger
from haulout.backports.model import Cell, Column, Content, Evidence, Fix, Known, Patch, State
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.patches import patch_of, squashed
from haulout.backports.probe import Answer, Prober, Tried
from haulout.backports.recognise import SQUASH
from haulout.backports.renames import Renames
from haulout.backports.repository import Branch, Repository
from haulout.backports.reverts import Carried, carried
from haulout.backports.simulation import Simulated, Simulator
from haulout.backports.support import Support
from haulout.backports.variants import Context, Gathered, Unit, Variant, gather
from haulout.backports.verdict import Facts, best, doubtful, joined, judged, partial, settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.history import Walk

_MOST: Final = 8
"""Backports of a commit that are tried where the commit itself conflicts."""
_OPEN: Final = (State.APPLIES, State.CONFLICTS, State.PARTLY)
"""States that a pick decides."""


def at_commits(repository: Repository, fix: Fix, oids: Sequence[str], main: Branch) -> tuple[Cell, ...]:
    """Return the states of commits for a fix, as if branches ended there."""
    ends = [Branch(oid, oid, oid) for oid in oids]
    with repository.scratch_objects() as objects:
        survey = Survey(repository, objects, [*ends, *repository.branches()], main.tip)
        return survey.column(fix, ends, Support(None, "", ())).cells


@dataclass(frozen=True, slots=True)
class Parts:
    """What commits on a branch do only a part of a fix."""

    evidence: tuple[Evidence, ...] = ()
    whole: bool = False
    """Together they do all of it."""
    commits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one commit of a fix on one branch."""

    state: State
    evidence: tuple[Evidence, ...]
    results: tuple[tuple[Variant, Tried], ...] = ()
    part: bool = False
    doubtful: bool = False


@dataclass(slots=True)
class Survey:
    """Judges branches for one fix after another."""

    repository: Repository
    objects: ScratchObjects
    every: Sequence[Branch]
    main: str
    mainline: int = 1
    """Of merges, the parent they were merged into."""
    prober: Prober = field(init=False)
    simulator: Simulator = field(init=False)
    lines: Lines = field(init=False)
    opposites: dict[str, list[str]] = field(default_factory=dict)
    """The commits that do the very opposite of one, on any branch; known for those that it was asked of."""

    def __post_init__(self) -> None:
        here = (self.repository, self.objects)
        renames = Renames(*here)
        self.prober = Prober(self.objects, renames, Attributes(*here))
        self.simulator = Simulator(self.prober, Merger(*here, renames))
        self.lines = Lines(self.objects)

    def column(self, fix: Fix, rows: Sequence[Branch], support: Support) -> Column:
        """Return the state of every branch for a fix."""
        tips = tuple(branch.tip for branch in self.every)
        known = gather(Context(self.repository, self.objects, self.prober.renames, tips, self.main, self.mainline), fix)
        introduced = Introduced.of(self.repository, self.prober, fix.record)
        trees = {branch.ref: self._tree(branch) for branch in rows}
        for unit in known.units:
            if unit.patch is not None:
                places = {tree: branch.tip for branch in rows if (tree := trees[branch.ref]) is not None}
                self.objects.read_folders(places, unit.patch.paths)
                self.prober.renames.search(unit.patch, places)
        whole = self._whole(fix, known, trees)
        judgements = [self._unit(unit, known, rows, trees, introduced) for unit in known.units]
        merges = self._unit(known.merge, known, rows, trees, introduced) if known.merge is not None else {}
        own = self._of_the_merge_itself(fix)
        open_: dict[str, list[Judgement]] = {}
        cells: dict[str, Cell] = {}
        for branch in rows:
            parts = [judgement[branch.ref] for judgement in judgements]
            states = [part.state for part in parts]
            merge = merges.get(branch.ref)
            answered = merge.state if merge and (merge.doubtful or merge.state is State.PRESENT) else None
            state = State.UNKNOWN if fix.unknown and not states else joined(whole.get(branch.ref), states, answered)
            why = tuple(dict.fromkeys(one for part in parts for one in part.evidence))
            if merge is not None and (answered is not None or merge.part):
                why = tuple(dict.fromkeys((*merge.evidence, *why)))
            why += tuple(filter(None, [partial(states)]))
            why += tuple(Evidence("clone", f"{oid[:12]} is not in this clone", oid) for oid in fix.unknown)
            if state is not State.PRESENT:
                why += own
            if fix.unknown and state is State.PRESENT:
                state = State.UNKNOWN
            done = {State.PRESENT, State.NOT_AFFECTED} if set(states) - {State.NOT_AFFECTED} else {State.PRESENT}
            left = tuple(unit.commit.oid for unit, one in zip(known.units, states, strict=True) if one not in done)
            cells[branch.ref] = Cell(
                branch,
                state,
                why,
                support.must(branch),
                support.served(branch),
                left=() if state is State.PRESENT else left or tuple(unit.commit.oid for unit in known.units),
            )
            if state in _OPEN and trees[branch.ref] is not None:
                open_[branch.ref] = [*parts, *([merge] if merge is not None else [])]
        self._settle(fix, known, cells, open_, trees)
        return Column(fix, tuple(cells[branch.ref] for branch in rows), self._known(known))

    def _of_the_merge_itself(self, fix: Fix) -> tuple[Evidence, ...]:
        """Say whether a merge has changes that none of its commits brings, such as a resolved conflict."""
        whole = fix.whole
        if whole is None or len(whole.parents) < 2:
            return ()
        try:
            start = self.objects.commit(whole.parents[self.mainline - 1]).tree
            end = self.objects.commit(whole.oid).tree
        except MissingObject:
            return ()
        series = [patch_of(self.objects, commit.oid) for commit in fix.commits]
        (done,) = self.simulator.run([(start, [one for one in series if one is not None])], last=True)
        if done.stopped is None and done.tree == end:
            return ()
        text = f"the merge {whole.oid[:10]} differs from what its commits bring: look at it, or pick it with --mainline"
        return (Evidence("content", text, whole.oid),)

    def _tree(self, branch: Branch) -> str | None:
        try:
            return self.objects.commit(branch.tip).tree
        except MissingObject:
            return None

    def _settle(
        self,
        fix: Fix,
        known: Gathered,
        cells: dict[str, Cell],
        open_: dict[str, list[Judgement]],
        trees: dict[str, str | None],
    ) -> None:
        """Try what picks come to on branches that lack a fix: of its own commits, else of a backport of it."""
        patches: dict[str, Patch | None] = {}
        choices = {
            ref: [cells[ref].left, *self._others(fix, known, cells[ref].left, parts)] for ref, parts in open_.items()
        }
        first: dict[str, Simulated] = {}
        for number in range(_MOST + 1):
            jobs = []
            for ref, some in choices.items():
                if number < len(some) and not (ref in first and cells[ref].pick):
                    for oid in some[number]:
                        if oid not in patches:
                            patches[oid] = patch_of(self.objects, oid, mainline=self.mainline)
                    jobs.append((ref, some[number], [patches[oid] for oid in some[number]]))
            if not jobs:
                break
            ready = [(str(trees[ref]), [one for one in series if one]) for ref, _, series in jobs]
            for (ref, oids, series), done in zip(jobs, self.simulator.run(ready), strict=True):
                first.setdefault(ref, done if all(series) else Simulated(done.tree, changed=False, known=False))
                if all(series) and done.clean:
                    cells[ref] = replace(cells[ref], pick=oids)
        for ref, done in first.items():
            cell, parts = cells[ref], open_[ref]
            clean = True if cell.pick else None if not done.known else done.stopped is None
            part = any(one.part or one.state is State.PRESENT for one in parts)
            state = settled(cell.state, clean=clean, changed=bool(cell.pick), part=part)
            why = attempted(state, cell, done, fix.commits) + self._as_one(fix, state, trees[ref])
            cells[ref] = replace(cell, state=state, evidence=why, left=() if state is State.PRESENT else cell.left)

    def _as_one(self, fix: Fix, state: State, tree: str | None) -> tuple[Evidence, ...]:
        """Say that a merge applies as one where its commits do not."""
        if fix.whole is None or state not in {State.CONFLICTS, State.PARTLY}:
            return ()
        patch = patch_of(self.objects, fix.whole.oid, mainline=self.mainline)
        if patch is None or tree is None or not self.simulator.run([(tree, [patch])])[0].clean:
            return ()
        text = f"the merge {patch.commits[0][:10]} applies as one: pick it with --mainline {self.mainline}"
        return (Evidence("content", text, patch.commits[0]),)

    def _others(
        self, fix: Fix, known: Gathered, left: tuple[str, ...], parts: Sequence[Judgement]
    ) -> list[tuple[str, ...]]:
        """Return what may be picked on a branch where the commits of a fix do not apply, the likeliest first."""
        if len(known.units) == 1:
            unit = known.units[0]
            results = [(variant, tried) for variant, tried in parts[0].results if unit.sure(variant)]
            results.sort(key=lambda one: one[1].content is not Content.APPLIES)
            return [variant.commits[:1] for variant, tried in results if tried.content is not Content.ABSENT][:_MOST]
        found = []
        for backport in fix.record.backports if fix.record else ():
            oids = [self.repository.find(name) for name in backport.commits]
            if all(oids) and len(oids) == len(fix.commits) and not fix.unknown:
                pairs = zip(fix.commits, oids, strict=True)
                found.append(tuple(str(oid) for commit, oid in pairs if commit.oid in left))
        return found[:_MOST]

    def _whole(self, fix: Fix, known: Gathered, trees: dict[str, str | None]) -> dict[str, Content]:
        if len(known.units) < 2:
            return {}
        variants = [squash for squash in self._squashes(fix, known.units) if squash is not None]
        tried = self.prober.try_all((tree, variant) for tree in trees.values() if tree for variant in variants)
        return {
            ref: best([tried[tree, variant].content for variant in variants])
            for ref, tree in trees.items()
            if tree is not None and variants
        }

    def _squashes(self, fix: Fix, units: Sequence[Unit]) -> list[Patch | None]:
        series = [unit.patch for unit in units]
        found = [squashed(self.prober, [one for one in series if one is not None]) if all(series) else None]
        for backport in fix.record.backports if fix.record else ():
            parts = [
                patch_of(self.objects, oid, mainline=self.mainline, paths=fix.record.paths)
                for name in backport.commits
                if fix.record and (oid := self.repository.find(name))
            ]
            known = [part for part in parts if part is not None]
            if len(known) == len(parts) == len(units):
                found.append(squashed(self.prober, known))
        return found

    def _unit(
        self,
        unit: Unit,
        known: Gathered,
        rows: Sequence[Branch],
        trees: dict[str, str | None],
        introduced: Introduced,
    ) -> dict[str, Judgement]:
        bits = {branch.ref: 1 << number for number, branch in enumerate(self.every)}
        whose = [unit, *([known.merge] if known.merge is not None and known.merge is not unit else [])]
        carriers = tuple(dict.fromkeys(oid for one in whose for oid in one.carriers))
        reverts = [undoing for one in whose for undoing in one.undoings if undoing.what not in one.parts]
        walk = known.walk
        past = {branch.ref: carried(bits[branch.ref], walk, carriers, reverts) for branch in rows}
        classification = Classification(self.prober, self.lines, unit.variants)
        wanted: dict[str, set[str]] = {}
        for branch in rows:
            tree = trees[branch.ref]
            if tree is not None:
                own = wanted.setdefault(tree, set())
                own.update(past[branch.ref].standing, (one.what for one in past[branch.ref].undone))
        classification.run(wanted)
        found = {}
        for branch in rows:
            tree = trees[branch.ref]
            tried = classification.results.get(tree, {}) if tree is not None else {}
            results = tuple((variant, tried[variant]) for variant in unit.variants if variant in tried)
            parts = self._parts(unit, walk, bits[branch.ref], results)
            found[branch.ref] = self._judge(unit, branch, results, past[branch.ref], introduced, parts, walk)
        return found

    def _parts(self, unit: Unit, walk: Walk, bit: int, results: Sequence[tuple[Variant, Tried]]) -> Parts:
        """Return what commits on a branch do a part of a commit, and stand."""
        here = {
            one.commit.oid: one
            for one in unit.candidates
            if one.partial
            and carried(
                bit,
                walk,
                (one.commit.oid,),
                [undoing for undoing in unit.undoings if undoing.level > 1 or undoing.what == one.commit.oid],
            ).standing
        }
        if not here:
            return Parts()
        picks = [oid for oid, one in here.items() if one.signals != (SQUASH,)]
        pieces = bool(unit.squash) and all(here.keys() & set(some) for some in unit.squash)
        done = {path for oid in picks for path in self._paths(oid)}
        answers = next((tried.answers for variant, tried in results if unit.commit.oid in variant.commits), {})
        there = {Answer.SAME, Answer.ABSENT}
        missing = [path for path, answer in answers.items() if path not in done and answer not in there]
        why = tuple(left_out(here[oid], missing if picks and not pieces else ()) for oid in here)
        return Parts(why, pieces or bool(picks and answers and not missing), tuple(here))

    def _paths(self, oid: str) -> frozenset[str]:
        patch = patch_of(self.objects, oid, mainline=self.mainline)
        return patch.paths if patch is not None else frozenset()

    def _judge(
        self,
        unit: Unit,
        branch: Branch,
        results: tuple[tuple[Variant, Tried], ...],
        past: Carried,
        introduced: Introduced,
        parts: Parts,
        walk: Walk,
    ) -> Judgement:
        content = best([tried.content for _, tried in results])
        own = [(variant, tried) for variant, tried in results if set(variant.commits) & set(past.standing)]
        affected, why = introduced.on(branch)
        facts = Facts(
            content,
            best([tried.content for _, tried in own]) if own else None,
            bool(past.standing) or (parts.whole and content is not Content.APPLIES),
            bool(past.undone),
            affected,
            part=bool(parts.evidence),
        )
        opposite: str | None = None
        doubt = doubtful(facts)
        if doubt:
            opposite = self._opposite(past.standing, branch, own, walk)
            facts = replace(facts, opposed=opposite is not None, kept=self._kept(past.standing, branch, own))
        elif parts.whole and content is Content.APPLIES:
            # Commits that together are the fix are on the branch, and it would apply again.
            facts = replace(facts, standing=True, own=content, kept=self._kept(parts.commits, branch, results[:1]))
        state = judged(facts)
        deciding = [(variant, tried) for variant, tried in results if tried.content is content]
        found = evidence(unit, state, deciding, past, opposite) + parts.evidence
        if why is not None:
            found = (why, *found) if not affected else (*found, why)
        return Judgement(state, found, results, bool(parts.evidence), doubt)

    def _opposite(
        self, standing: Sequence[str], branch: Branch, own: Sequence[tuple[Variant, Tried]], walk: Walk
    ) -> str | None:
        """Return a commit of a branch that does the very opposite of one that carries the fix there."""
        bit = 1 << [one.ref for one in self.every].index(branch.ref)
        tips = [one.tip for one in self.every]
        for variant, _ in own:
            for oid in (one for one in variant.commits if one in standing):
                if oid not in self.opposites:
                    paths = sorted(variant.patch.paths)
                    self.opposites[oid] = history.inverses(self.repository, oid, tips, paths)
                for one in self.opposites[oid]:
                    if walk.on(one) & bit:
                        return one
        return None

    def _kept(self, standing: Sequence[str], branch: Branch, own: Sequence[tuple[Variant, Tried]]) -> bool:
        try:
            tree = self.objects.commit(branch.tip).tree
            return any(
                self.lines.kept(tried, self.objects.commit(oid).tree, tree) for _, tried in own for oid in standing
            )
        except MissingObject:
            return False

    def _known(self, known: Gathered) -> tuple[Known, ...]:
        return tuple(
            Known(
                candidate.commit.oid,
                number,
                candidate.signals,
                tuple(
                    branch.shown
                    for bit, branch in enumerate(self.every)
                    if known.walk.on(candidate.commit.oid) >> bit & 1
                ),
            )
            for number, unit in enumerate(known.units)
            for candidate in unit.candidates
        )
