"""What ``git cherry-pick`` of commits onto branches would come to, found out without a checkout.

``status`` and ``pick`` both decide by this: a branch onto which commits apply is one onto which they can be picked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.backports.attributes import UNION, WHOLE
from haulout.backports.git import encode
from haulout.backports.objects import MissingObject
from haulout.backports.probe import Answer, Prober, Question
from haulout.backports.trees import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.merging import Merger
    from haulout.backports.model import Patch


@dataclass(frozen=True, slots=True)
class Simulated:
    """What picks of some commits onto one branch would come to."""

    tree: str
    """The root tree after them, as far as it was needed, or where they stop."""
    changed: bool
    """It is another tree than before."""
    stopped: Patch | None = None
    """The one that conflicts."""
    conflicts: tuple[str, ...] = ()
    known: bool = True
    """False: not everything that is needed is in this clone."""

    @property
    def clean(self) -> bool:
        """Whether all would be picked, and change something."""
        return self.known and self.stopped is None and self.changed


@dataclass(slots=True)
class Simulator:
    """Simulates picks, for many branches at once."""

    prober: Prober
    merger: Merger

    def run(self, jobs: Sequence[tuple[str, Sequence[Patch]]], *, last: bool = False) -> list[Simulated]:
        """Simulate picks of patches, of one commit each, in order.

        Args:
            jobs: root trees of branches, and what is picked onto each.
            last: write also the trees that the last picks lead to.
        """
        found = [Simulated(tree, changed=False) for tree, _ in jobs]
        for step in range(max((len(patches) for _, patches in jobs), default=0)):
            active = [
                number
                for number, (_, patches) in enumerate(jobs)
                if step < len(patches) and found[number].known and found[number].stopped is None
            ]
            done = self._step([(found[number].tree, jobs[number][1][step]) for number in active])
            for number, (changes, conflicts) in zip(active, done, strict=True):
                patches = jobs[number][1]
                needed = last or step + 1 < len(patches)
                found[number] = self._after(found[number], patches[step], changes, conflicts, needed=needed)
        return found

    def _after(
        self,
        before: Simulated,
        patch: Patch,
        changes: dict[str, Entry | None] | None,
        conflicts: tuple[str, ...],
        *,
        needed: bool,
    ) -> Simulated:
        if changes is None:
            return Simulated(before.tree, before.changed, known=False)
        if conflicts:
            return Simulated(before.tree, before.changed, patch, conflicts)
        if not changes:
            return before
        return Simulated(self.prober.objects.replace(before.tree, changes) if needed else before.tree, changed=True)

    def _step(
        self, wanted: Sequence[tuple[str, Patch]]
    ) -> list[tuple[dict[str, Entry | None] | None, tuple[str, ...]]]:
        asked = []
        for tree, patch in wanted:
            try:
                asked.append(self._questions(tree, patch))
            except MissingObject:
                asked.append(({}, False))
        self.prober.ask({one for questions, _ in asked for one in questions.values()})
        found = [self._summed(questions) for questions, _ in asked]
        # Where a file conflicts under its own name, no other name can help.
        whole = [number for number, (_, odd) in enumerate(asked) if odd and not found[number][1]]
        merges = self.merger.all([(*wanted[number], self._attributes(*wanted[number])) for number in whole])
        for number, merge in zip(whole, merges, strict=True):
            found[number] = (None, ()) if merge is None else (dict(merge.changes), merge.conflicts)
        return found

    def _summed(self, questions: dict[str, Question]) -> tuple[dict[str, Entry | None] | None, tuple[str, ...]]:
        answers = {path: self.prober.known[question] for path, question in questions.items()}
        if not answers or Answer.UNKNOWN in answers.values():
            return None, ()
        conflicts = tuple(path for path, answer in answers.items() if answer is Answer.CONFLICT)
        changed = {Answer.CHANGED, Answer.CREATED}
        return {path: self._result(questions[path]) for path, one in answers.items() if one in changed}, conflicts

    def _result(self, question: Question) -> Entry | None:
        base, ours, theirs, _ = question
        if question not in self.prober.merged or base is None or ours is None or theirs is None:
            return theirs
        return Entry(theirs.mode if base.mode == ours.mode else ours.mode, self.prober.merged[question])

    def _questions(self, tree: str, patch: Patch) -> tuple[dict[str, Question], bool]:
        """Return one question for each file, and whether names may have changed, so that git must look at all of them.

        Raises:
            MissingObject: a tree is not in this clone.
        """
        objects = self.prober.objects
        found: dict[str, Question] = {}
        odd = False
        for change in patch.changes:
            path = change.path
            ours = objects.at(tree, path)
            folder = path.rpartition("/")[0]
            if (change.new is None and ours != change.old) or (
                ours is None
                and (
                    change.old is not None
                    or objects.folder(tree, path) is not None
                    or (folder and objects.folder(tree, folder) is None and self._odd(tree, patch, folder))
                )
            ):
                odd = True
                continue
            found[path] = Question(change.old, ours, change.new)
        return self.prober.ruled(tree, found, {}), odd

    def _odd(self, tree: str, patch: Patch, folder: str) -> bool:
        """Whether a folder that the branch lacks may have another name there, or is a file."""
        objects = self.prober.objects
        parts = folder.split("/")
        parents = ["/".join(parts[:number]) for number in range(1, len(parts) + 1)]
        gone = [one for one in parents if objects.folder(tree, one) is None]
        before = patch.before or objects.empty_tree
        return any(objects.at(tree, one) is not None or objects.folder(before, one) is not None for one in gone)

    def _attributes(self, tree: str, patch: Patch) -> tuple[str, ...]:
        """Return lines of an attributes file for what a patch changes."""
        try:
            ways = self.prober.attributes.ways(tree, sorted(patch.paths)) if self.prober.attributes is not None else {}
        except MissingObject:
            return ()
        return tuple(f"{_quoted(path)} merge={how}" for path, how in ways.items() if how in {UNION, WHOLE})


def _quoted(path: str) -> str:
    """Return a path as a pattern of an attributes file that matches it alone."""
    text = "".join(f"\\{one}" if one in "*?[\\" else one for one in path)
    escaped = "".join(chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\{one:03o}" for one in encode(text))
    return f'"/{escaped}"'
