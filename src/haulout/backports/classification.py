"""Try the variants of a commit on branches: few merges first, more only where they can still change the answer.

A branch is decided by a variant that would change nothing. Otherwise every variant is tried that could be there, by the
lines it adds; and where none applies, all the others, the nearest first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from haulout.backports.attributes import USUAL
from haulout.backports.model import Change, Content
from haulout.backports.objects import MissingObject
from haulout.backports.probe import Answer, Prober, Question, Tried
from haulout.backports.trees import GITLINK, SYMLINK, Entry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from haulout.backports.lines import Lines
    from haulout.backports.variants import Variant

_MOST: Final = 64
"""Forms tried on every branch; of more, those that most branches have. A branch's own is always tried on it."""
_FIRST: Final = 6
"""Forms tried at a time on a branch onto which none applies so far."""

Results = dict["Variant", Tried]


@dataclass(slots=True)
class Classification:
    """One commit's variants, tried on branches."""

    prober: Prober
    lines: Lines
    variants: Sequence[Variant]
    results: dict[str, Results] = field(default_factory=dict)
    """By root tree."""

    def run(self, carriers: Mapping[str, Collection[str]]) -> None:
        """Try the variants.

        Args:
            carriers: root trees, and the commits with the fix that are in the history of branches with that tree. Their
                variants are tried in any case.
        """
        if not self.variants:
            return
        upstream, *others = self.variants
        # Upstream first: where another variant applies, it is said whether the upstream one does.
        most = sorted(others, key=lambda variant: -len(variant.commits))[: _MOST - 1]
        usual = [upstream, *(variant for variant in others if variant in set(most))]
        by_ids = {tree for tree in carriers if self._by_ids(tree, usual)}
        home = {oid: variant for variant in self.variants for oid in variant.commits}
        own = [(tree, home[oid]) for tree, oids in carriers.items() for oid in oids if oid in home]
        self._try([*((tree, upstream) for tree in carriers if not self._has(tree, Content.SAME)), *own])
        left = [tree for tree in carriers if not self._has(tree, Content.SAME)]
        self._try((tree, variant) for tree in left for variant in usual if self._undecided(tree, variant))
        left = [tree for tree in left if tree not in by_ids and not self._has(tree, Content.SAME)]
        left = [tree for tree in left if not self._has(tree, Content.APPLIES)]
        order = {tree: self._nearest(tree, usual) for tree in left}
        for some in (slice(_FIRST), slice(_FIRST, None)):
            left = [tree for tree in left if not self._has(tree, Content.APPLIES)]
            self._try((tree, variant) for tree in left for variant in order[tree][some])
        for tree in left:
            if not self._has(tree, Content.SAME) and not self._has(tree, Content.APPLIES):
                self._ignore_line_ends(tree)

    def _has(self, tree: str, content: Content) -> bool:
        return any(tried.content is content for tried in self.results.get(tree, {}).values())

    def _try(self, wanted: Iterable[tuple[str, Variant]]) -> None:
        pairs = [
            (tree, variant) for tree, variant in dict.fromkeys(wanted) if variant not in self.results.get(tree, {})
        ]
        found = self.prober.try_all((tree, variant.patch) for tree, variant in pairs)
        for tree, variant in pairs:
            self.results.setdefault(tree, {})[variant] = found[tree, variant.patch]

    def _by_ids(self, tree: str, variants: Sequence[Variant]) -> bool:
        """Decide a branch by ids alone, where its files are a variant's before or after the change; say whether."""
        for variant in variants:
            tried = self.prober.by_ids(tree, variant.patch)
            if tried is not None and (tried.content is Content.SAME or tried.untouched):
                self.results.setdefault(tree, {})[variant] = tried
                if tried.content is Content.SAME:
                    return True
        return tree in self.results

    def _undecided(self, tree: str, variant: Variant) -> bool:
        """Whether a variant may be there, of whose files not all are known to be as they were before the fix."""
        untouched = [tried.patch.paths for tried in self.results.get(tree, {}).values() if tried.untouched]
        return not any(variant.patch.paths <= paths for paths in untouched) and self._could_be(tree, variant)

    def _could_be(self, tree: str, variant: Variant) -> bool:
        """Whether a variant may be there: whether all lines that it adds are."""
        return all(
            ours is None or change.new is None or self.lines.added(change) <= (self.lines.of(ours) or frozenset())
            for change, ours in self._pairs(tree, variant)
            if ours is None or self.lines.of(ours) is not None
        )

    def _nearest(self, tree: str, variants: Sequence[Variant]) -> list[Variant]:
        return sorted(variants, key=lambda variant: -self._nearness(tree, variant))

    def _nearness(self, tree: str, variant: Variant) -> int:
        """Return how many lines a branch shares with what a variant was made for."""
        return sum(
            len((self.lines.of(ours) or frozenset()) & (self.lines.of(change.old) or frozenset()))
            for change, ours in self._pairs(tree, variant)
            if ours is not None and change.old is not None
        )

    def _pairs(self, tree: str, variant: Variant) -> Iterator[tuple[Change, Entry | None]]:
        for change in variant.patch.changes:
            try:
                ours = self.prober.ours(tree, change)[0]
            except MissingObject:
                continue
            yield change, ours

    def _ignore_line_ends(self, tree: str) -> None:
        """Try again with CR LF taken for LF: what is there with other line ends is there."""
        for variant, tried in list(self.results.get(tree, {}).items()):
            if tried.content is not Content.CONFLICTS:
                continue
            plain = self._plain(tree, variant)
            if plain is None:
                continue
            self.prober.ask(plain.values())
            answers = {path: self.prober.known[question] for path, question in plain.items()}
            again = replace(tried, answers={**tried.answers, **answers}, line_ends=True)
            if again.content is Content.SAME:
                self.results[tree] = {variant: again}
                return
            if again.content is Content.APPLIES:
                # It is only so near: git would not pick it like this.
                self.results[tree][variant] = replace(tried, line_ends=True)

    def _plain(self, tree: str, variant: Variant) -> dict[str, Question] | None:
        """Return the questions about the files in conflict, with plain line ends; None: there are no others."""
        found: dict[str, Question] = {}
        different = False
        # Once: to find it takes the hash of all changes.
        tried = self.results[tree][variant]
        for change, ours in self._pairs(tree, variant):
            if tried.answers.get(change.path) is Answer.CONFLICT:
                sides = (change.old, ours, change.new)
                how = tried.ruled.get(change.path, USUAL)
                base, here, theirs = (self._without_returns(entry) for entry in sides)
                plain = Question(base, here, theirs, how)
                different |= plain[:3] != sides
                found[change.path] = plain
        return found if different else None

    def _without_returns(self, entry: Entry | None) -> Entry | None:
        if entry is None or entry.mode in {SYMLINK, GITLINK} or not self.prober.objects.has(entry.oid):
            return entry
        content = self.prober.objects.read(entry.oid)
        if b"\r\n" not in content:
            return entry
        return Entry(entry.mode, self.prober.objects.write_blob(content.replace(b"\r\n", b"\n")))
