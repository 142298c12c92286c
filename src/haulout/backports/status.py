"""Which branches have a fix: find its variants, try each on every branch, and judge."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from haulout.backports import records
from haulout.backports.attributes import Attributes
from haulout.backports.classification import Classification
from haulout.backports.explain import evidence
from haulout.backports.fix import resolve
from haulout.backports.introduced import Introduced
from haulout.backports.ledger import Ledger, load_ledger, path_of
from haulout.backports.model import Cell, Column, Content, Evidence, Fix, Known, Matrix, Patch, State, StrPath
from haulout.backports.naming import library_name
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.patches import patch_of, squashed
from haulout.backports.probe import Prober, Tried
from haulout.backports.recognise import Carried, Undoing, carried
from haulout.backports.renames import Renames
from haulout.backports.repository import Branch, Repository, matching, open_repository
from haulout.backports.variants import Context, Unit, Variant, gather
from haulout.backports.verdict import Facts, best, joined, judged, partial
from haulout.errors import NotFoundError
from haulout.progress import NullProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from haulout.backports.history import Walk


def status(  # noqa: PLR0913 - each is one word of the request
    lib: StrPath,
    fixes: Sequence[str],
    *,
    ledger: StrPath | None = None,
    main: str | None = None,
    remote: str | None = None,
    branches: Sequence[str] = (),
    supported: Sequence[str] = (),
    mainline: int = 1,
    reports: Sequence[StrPath] = (),
    progress: Progress | None = None,
) -> Matrix:
    """Find the state of every branch for each fix, with the evidence for it.

    Nothing is written to the clone, or fetched.

    Args:
        lib: the library's clone.
        fixes: commits, series or ids of records.
        ledger: the ledger, beside which the records are.
        main: the branch that fixes come from; by default the remote's HEAD, or ``main``.
        remote: whose branches count, besides the local ones; by default ``upstream``, ``origin``, or the only one.
        branches: globs of the branches to look at; by default all.
        supported: globs of the branches that must have the fix; by default those of the ledger, and without it all.
        mainline: of a fix that is a merge, the parent it was merged into, counted from 1.
        reports: files to write the result to, ``.md`` or ``.html``.
        progress: receives every fix.

    Raises:
        NotFoundError: there is no such clone, fix or branch.
        UsageError: a fix means several things, or a report is of another kind.
        HauloutError: the clone, the ledger or a record is broken.
    """
    if reports:
        from haulout.backports.report import check_report, write_report  # noqa: PLC0415 - only for reports
    for report in reports:
        check_report(report)
    book = path_of(ledger)
    repository = open_repository(lib)
    known = records.load_all(book)
    found = [resolve(repository, name, known) for name in dict.fromkeys(fixes)]
    every = repository.branches(remote)
    rows = matching(every, branches)
    if not rows:
        what = f"no branch of {lib} matches {' '.join(branches)}" if branches else f"no branch in {lib}"
        raise NotFoundError(what, hint="fetch them first, or name another remote: --remote NAME")
    with repository.scratch_objects() as objects:
        entries = load_ledger(book) if book is not None else None
        tip = repository.mainline(main).tip
        name = library_name(repository, objects, tip, sure=entries is not None)
        survey = Survey(repository, objects, every, tip, mainline)
        support = Support(entries, name, supported)
        absent = support.absent({branch.name for branch in every}, branches)
        columns = []
        with (progress or NullProgress()).task("checking branches", len(found), unit="fixes") as task:
            for fix in found:
                column = survey.column(fix, rows, support)
                columns.append(replace(column, cells=(*column.cells, *absent)))
                task.advance(1)
    matrix = Matrix(name, tuple(columns))
    for report in reports:
        write_report(report, matrix)
    return matrix


def at_commits(repository: Repository, fix: Fix, oids: Sequence[str], main: Branch) -> tuple[Cell, ...]:
    """Return the states of commits for a fix, as if branches ended there."""
    ends = [Branch(oid, oid, oid) for oid in oids]
    with repository.scratch_objects() as objects:
        survey = Survey(repository, objects, [*ends, *repository.branches()], main.tip)
        return survey.column(fix, ends, Support(None, "", ())).cells


@dataclass(frozen=True, slots=True)
class Support:
    """Which branches must have fixes, and for which consumers they are kept."""

    ledger: Ledger | None
    library: str
    globs: Sequence[str]

    def must(self, branch: Branch) -> bool:
        """Whether a branch must have every fix."""
        if self.globs:
            return bool(matching([branch], self.globs))
        return self.ledger is None or self.ledger.supports(self.library, branch.name)

    def absent(self, known: Collection[str], globs: Sequence[str]) -> tuple[Cell, ...]:
        """Return the cells of supported branches of the ledger that are not in this clone: their state is unknown."""
        entries = self.ledger.of(self.library) if self.ledger is not None and not self.globs else ()
        names = dict.fromkeys(one.name for one in entries if one.supported and one.name not in known)
        gone = matching([Branch(name, f"refs/heads/{name}", "") for name in names], globs)
        why = (Evidence("clone", "the ledger has it, and this clone does not: fetch it"),)
        return tuple(Cell(one, State.UNKNOWN, why, supported=True, consumers=self.served(one)) for one in gone)

    def served(self, branch: Branch) -> tuple[str, ...]:
        """Return the consumers that a branch is kept for."""
        if self.ledger is None:
            return ()
        return tuple(entry.serves for entry in self.ledger.of(self.library) if entry.name == branch.name)


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

    def __post_init__(self) -> None:
        here = (self.repository, self.objects)
        self.prober = Prober(self.objects, Renames(*here), Attributes(*here))

    def column(self, fix: Fix, rows: Sequence[Branch], support: Support) -> Column:
        """Return the state of every branch for a fix."""
        tips = tuple(branch.tip for branch in self.every)
        walk, units = gather(Context(self.repository, self.objects, tips, self.main, self.mainline), fix)
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
            why = tuple(dict.fromkeys(one for part in parts for one in part.evidence))
            why += tuple(filter(None, [partial(states)]))
            why += tuple(Evidence("clone", f"{oid[:12]} is not in this clone", oid) for oid in fix.unknown)
            if fix.unknown and state is State.PRESENT:
                state = State.UNKNOWN
            pick = tuple(dict.fromkeys(oid for part in parts for oid in part.pick)) if state is State.APPLIES else ()
            cells.append(Cell(branch, state, why, support.must(branch), support.served(branch), pick))
        return Column(fix, tuple(cells), self._known(units, walk))

    def _tree(self, branch: Branch) -> str | None:
        try:
            return self.objects.commit(branch.tip).tree
        except MissingObject:
            return None

    def _whole(self, fix: Fix, units: Sequence[Unit], trees: dict[str, str | None]) -> dict[str, Content]:
        if len(units) < 2:
            return {}
        variants = [squash for squash in self._squashes(fix, units) if squash is not None]
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
        self, unit: Unit, walk: Walk, rows: Sequence[Branch], trees: dict[str, str | None], introduced: Introduced
    ) -> dict[str, Judgement]:
        bits = {branch.ref: 1 << number for number, branch in enumerate(self.every)}
        reverts: dict[str, list[Undoing]] = {}
        for undoing in unit.undoings:
            reverts.setdefault(undoing.what, []).append(undoing)
        history = {branch.ref: carried(bits[branch.ref], walk, unit.carriers, reverts) for branch in rows}
        classification = Classification(self.prober, unit.variants)
        carriers: dict[str, set[str]] = {}
        for branch in rows:
            tree = trees[branch.ref]
            if tree is not None:
                own = carriers.setdefault(tree, set())
                own.update(history[branch.ref].standing, (one.what for one in history[branch.ref].undone))
        classification.run(carriers)
        found = {}
        for branch in rows:
            tree = trees[branch.ref]
            tried = classification.results.get(tree, {}) if tree is not None else {}
            results = [(variant, tried[variant]) for variant in unit.variants if variant in tried]
            parts = tuple(
                Evidence(one.signals[0], f"{one.commit.oid[:10]} is a part of it", one.commit.oid)
                for one in unit.candidates
                if one.partial and walk.on(one.commit.oid) & bits[branch.ref]
            )
            found[branch.ref] = self._judge(unit, branch, results, history[branch.ref], introduced, parts)
        return found

    def _judge(
        self,
        unit: Unit,
        branch: Branch,
        results: list[tuple[Variant, Tried]],
        history: Carried,
        introduced: Introduced,
        parts: tuple[Evidence, ...],
    ) -> Judgement:
        content = best([tried.content for _, tried in results])
        own = [tried.content for variant, tried in results if set(variant.commits) & set(history.standing)]
        affected, why = introduced.on(branch)
        facts = Facts(content, best(own) if own else None, bool(history.standing), bool(history.undone), affected)
        state = judged(facts)
        deciding = [(variant, tried) for variant, tried in results if tried.content is content]
        found = evidence(unit, state, deciding, history) + parts
        if why is not None:
            found = (why, *found) if not affected else (*found, why)
        pick = deciding[0][0].commits[:1] if state is State.APPLIES and deciding else ()
        return Judgement(state, found, pick)

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
    """The verdict on one commit of a fix on one branch."""

    state: State
    evidence: tuple[Evidence, ...]
    pick: tuple[str, ...]
