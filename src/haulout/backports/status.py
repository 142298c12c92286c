"""Which branches have a fix: gather what is known, try every form of the fix on every branch, and judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout.backports import fix as fixes
from haulout.backports import ledger, library, patches, records
from haulout.backports.attributes import Attributes
from haulout.backports.classification import Trial
from haulout.backports.explain import evidence
from haulout.backports.introduced import Introduced
from haulout.backports.model import Cell, Column, Content, Evidence, Known, Matrix, State
from haulout.backports.objects import MissingObject
from haulout.backports.probe import Prober
from haulout.backports.recognise import carried
from haulout.backports.renames import Renames
from haulout.backports.repository import Branch, matching, open_repository
from haulout.backports.variants import Form, Ground, Unit, gather
from haulout.backports.verdict import Facts, best, joined, judged, partial
from haulout.errors import NotFoundError
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from haulout.backports.history import Walk
    from haulout.backports.ledger import Ledger
    from haulout.backports.model import Fix, Patch
    from haulout.backports.objects import Bench
    from haulout.backports.probe import Tried
    from haulout.backports.recognise import Carried, Undoing
    from haulout.backports.repository import Repository
    from haulout.progress import Progress

_PICKABLE: Final = {State.APPLIES}


@dataclass(frozen=True, slots=True)
class Options:
    """What may be said about where to look; the same for all verbs that look."""

    ledger: Path | None = None
    main: str | None = None
    """The branch that fixes come from."""
    remote: str | None = None
    """Whose branches count, besides the local ones."""
    branches: tuple[str, ...] = ()
    """Globs; none: all."""
    supported: tuple[str, ...] = ()
    """Globs of branches that must have the fix; none: as the ledger says."""
    mainline: int = 1
    """Of a fix that is a merge: the parent it went onto."""


def status(
    path: Path, names: Sequence[str], options: Options | None = None, *, progress: Progress | None = None
) -> Matrix:
    """Say of every branch whether it has each fix, and why that is said.

    Nothing is written to the clone, or fetched.

    Args:
        path: the library's clone.
        names: commits, series or ids of records.
        options: where to look.
        progress: is told of every fix.

    Raises:
        NotFoundError: there is no such clone, fix or branch.
        HauloutError: the clone, the ledger or a record is broken.
    """
    options = options or Options()
    repository = open_repository(path)
    known = records.load_all(options.ledger) if options.ledger is not None else ()
    found = [fixes.resolve(repository, name, known) for name in dict.fromkeys(names)]
    return of_fixes(repository, found, options, progress or NullProgress())


def of_fixes(repository: Repository, found: Sequence[Fix], options: Options, progress: Progress) -> Matrix:
    """Say of every branch whether it has each fix."""
    every = repository.branches(options.remote)
    rows = matching(every, options.branches)
    if not rows:
        raise NotFoundError(
            f"no branch of {repository.path} matches {' '.join(options.branches)}"
            if options.branches
            else f"no branch in {repository.path}",
            hint="fetch them first; --remote NAME looks at another remote's",
        )
    with repository.bench() as bench:
        kept = ledger.load(options.ledger) if options.ledger is not None else None
        main = repository.mainline(options.main)
        name = library.name(repository, bench, main.tip, sure=kept is not None)
        prober = _prober(repository, bench)
        survey = Survey(repository, bench, prober, every, main.tip, options)
        support = Support(kept, name, options.supported)
        absent = support.absent({branch.name for branch in every}, options.branches)
        columns = []
        with progress.task("looking at branches", len(found), unit="fixes") as task:
            for fix in found:
                column = survey.column(fix, rows, support)
                columns.append(replace(column, cells=(*column.cells, *absent)))
                task.advance(1)
    return Matrix(name, tuple(columns), len(prober.merged) + len(prober.known))


def applying(repository: Repository, fix: Fix, commit: str, options: Options) -> tuple[str, ...]:
    """Return the commits that would give a fix to what is at a commit, where some would."""
    return at_commits(repository, fix, [commit], repository.mainline(options.main), options)[0].pick


def at_commits(
    repository: Repository, fix: Fix, oids: Sequence[str], main: Branch, options: Options
) -> tuple[Cell, ...]:
    """Say of commits whether they have a fix, as if branches ended there."""
    ends = [Branch(oid, oid, oid) for oid in oids]
    every = [*ends, *repository.branches(options.remote)]
    with repository.bench() as bench:
        survey = Survey(
            repository,
            bench,
            Prober(bench, Renames(repository, bench), Attributes(repository, bench)),
            every,
            main.tip,
            options,
        )
        return survey.column(fix, ends, Support(None, "", ())).cells


def _prober(repository: Repository, bench: Bench) -> Prober:
    return Prober(bench, Renames(repository, bench), Attributes(repository, bench))


@dataclass(frozen=True, slots=True)
class Support:
    """Who must have fixes, and who is served."""

    ledger: Ledger | None
    library: str
    globs: tuple[str, ...]

    def must(self, branch: Branch) -> bool:
        """Whether a branch must have every fix."""
        if self.globs:
            return bool(matching([branch], self.globs))
        return self.ledger is None or self.ledger.supports(self.library, branch.name)

    def absent(self, known: Collection[str], globs: Sequence[str]) -> tuple[Cell, ...]:
        """Return the cells of supported branches of the ledger that are not in this clone: nobody knows of them."""
        entries = self.ledger.of(self.library) if self.ledger is not None and not self.globs else ()
        names = dict.fromkeys(one.name for one in entries if one.supported and one.name not in known)
        gone = matching([Branch(name, f"refs/heads/{name}", "") for name in names], globs)
        told = (Evidence("clone", "it is not in this clone, and the ledger has it: fetch it"),)
        return tuple(Cell(one, State.UNKNOWN, told, supported=True, consumers=self.served(one)) for one in gone)

    def served(self, branch: Branch) -> tuple[str, ...]:
        """Return who is served by a branch."""
        if self.ledger is None:
            return ()
        return tuple(entry.serves for entry in self.ledger.of(self.library) if entry.name == branch.name)


@dataclass(slots=True)
class Survey:
    """Looks at branches for one fix after another."""

    repository: Repository
    bench: Bench
    prober: Prober
    every: Sequence[Branch]
    main: str
    options: Options

    def column(self, fix: Fix, rows: Sequence[Branch], support: Support) -> Column:
        """Say of every branch whether it has a fix."""
        tips = tuple(branch.tip for branch in self.every)
        walk, units = gather(Ground(self.repository, self.bench, tips, self.main, self.options.mainline), fix)
        introduced = Introduced.of(self.repository, self.prober, fix.record)
        trees = {branch.ref: self._tree(branch) for branch in rows}
        for unit in units:
            if unit.patch is not None:
                self.prober.renames.search(unit.patch, [tree for tree in trees.values() if tree is not None])
        whole = self._whole(fix, units, trees)
        judgements = [self._unit(unit, walk, rows, trees, introduced) for unit in units]
        cells = []
        for branch in rows:
            parts = [judgement[branch.ref] for judgement in judgements]
            states = [part.state for part in parts]
            state = State.UNKNOWN if fix.unknown and not states else joined(whole.get(branch.ref), states)
            told = tuple(dict.fromkeys(one for part in parts for one in part.evidence))
            told += tuple(filter(None, [partial(states)]))
            told += tuple(Evidence("clone", f"{oid[:12]} is not in this clone", oid) for oid in fix.unknown)
            if fix.unknown and state is State.PRESENT:
                state = State.UNKNOWN
            pick = tuple(dict.fromkeys(oid for part in parts for oid in part.pick)) if state in _PICKABLE else ()
            cells.append(Cell(branch, state, told, support.must(branch), support.served(branch), pick))
        return Column(fix, tuple(cells), self._known(units, walk))

    def _tree(self, branch: Branch) -> str | None:
        try:
            return self.bench.commit(branch.tip).tree
        except MissingObject:
            return None

    def _whole(self, fix: Fix, units: Sequence[Unit], trees: dict[str, str | None]) -> dict[str, Content]:
        if len(units) < 2:
            return {}
        forms = [squash for squash in self._squashes(fix, units) if squash is not None]
        tried = self.prober.try_all((tree, form) for tree in trees.values() if tree for form in forms)
        return {
            ref: best([tried[tree, form].content for form in forms])
            for ref, tree in trees.items()
            if tree is not None and forms
        }

    def _squashes(self, fix: Fix, units: Sequence[Unit]) -> list[Patch | None]:
        series = [unit.patch for unit in units]
        found = [patches.squashed(self.prober, [one for one in series if one is not None]) if all(series) else None]
        for backport in fix.record.backports if fix.record else ():
            parts = [
                patches.patch_or_none(self.bench, oid, mainline=self.options.mainline, paths=fix.record.paths)
                for name in backport.commits
                if fix.record and (oid := self.repository.find(name))
            ]
            known = [part for part in parts if part is not None]
            if len(known) == len(parts) == len(units):
                found.append(patches.squashed(self.prober, known))
        return found

    def _unit(
        self,
        unit: Unit,
        walk: Walk,
        rows: Sequence[Branch],
        trees: dict[str, str | None],
        introduced: Introduced,
    ) -> dict[str, Judgement]:
        bits = {branch.ref: 1 << number for number, branch in enumerate(self.every)}
        reverts: dict[str, list[Undoing]] = {}
        for undoing in unit.undoings:
            reverts.setdefault(undoing.what, []).append(undoing)
        said = {branch.ref: carried(bits[branch.ref], walk, unit.carriers, reverts) for branch in rows}
        trial = Trial(self.prober, unit.forms)
        carriers: dict[str, set[str]] = {}
        for branch in rows:
            tree = trees[branch.ref]
            if tree is not None:
                own = carriers.setdefault(tree, set())
                own.update(said[branch.ref].standing, (one.what for one in said[branch.ref].undone))
        trial.run(carriers)
        found = {}
        for branch in rows:
            tree = trees[branch.ref]
            tried = trial.results.get(tree, {}) if tree is not None else {}
            results = [(form, tried[form]) for form in unit.forms if form in tried]
            parts = tuple(
                Evidence(one.signals[0], f"{one.commit.oid[:10]} is a part of it", one.commit.oid)
                for one in unit.candidates
                if one.partial and walk.on(one.commit.oid) & bits[branch.ref]
            )
            found[branch.ref] = self._judge(unit, branch, results, said[branch.ref], introduced, parts)
        return found

    def _judge(
        self,
        unit: Unit,
        branch: Branch,
        results: list[tuple[Form, Tried]],
        said: Carried,
        introduced: Introduced,
        parts: tuple[Evidence, ...],
    ) -> Judgement:
        content = best([tried.content for _, tried in results])
        own = [tried.content for form, tried in results if set(form.commits) & set(said.standing)]
        affected, why = introduced.on(branch)
        facts = Facts(content, best(own) if own else None, bool(said.standing), bool(said.undone), affected)
        state = judged(facts)
        deciding = [(form, tried) for form, tried in results if tried.content is content]
        told = evidence(unit, state, deciding, said) + parts
        if why is not None:
            told = (why, *told) if not affected else (*told, why)
        pick = deciding[0][0].commits[:1] if state is State.APPLIES and deciding else ()
        return Judgement(state, told, pick)

    def _known(self, units: Sequence[Unit], walk: Walk) -> tuple[Known, ...]:
        return tuple(
            Known(
                candidate.commit.oid,
                number,
                candidate.signals,
                tuple(
                    branch.shown for bit, branch in enumerate(self.every) if walk.on(candidate.commit.oid) >> bit & 1
                ),
            )
            for number, unit in enumerate(units)
            for candidate in unit.candidates
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """One commit of a fix on one branch."""

    state: State
    evidence: tuple[Evidence, ...]
    pick: tuple[str, ...]
