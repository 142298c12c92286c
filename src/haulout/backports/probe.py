"""What merging a change into a tree would do, found out without a checkout.

Every question is about one file: its content before the change, after it, and on the branch. Most are answered by
comparing ids. The rest are put, each under a number, into three throw-away trees (before, branch, after), and one ``git
merge-tree`` answers all of them at once. Branches with the same content ask the same question, so 200 branches cost as
much as those that differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from haulout.backports.git import decode
from haulout.backports.model import Content
from haulout.backports.objects import GITLINK, SYMLINK, Entry, MissingObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from haulout.backports.model import Patch
    from haulout.backports.objects import Bench
    from haulout.backports.renames import Renames


class Answer(StrEnum):
    """What a change does to one file of a branch."""

    SAME = "same"
    CHANGED = "changed"
    CONFLICT = "conflict"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Question(NamedTuple):
    """One file: before the change, on the branch, and after the change; None: not there."""

    base: Entry | None
    ours: Entry | None
    theirs: Entry | None


@dataclass(frozen=True, slots=True)
class Tried:
    """A patch tried on a tree: what would become of each file, and where it was found."""

    patch: Patch
    answers: Mapping[str, Answer]
    moved: Mapping[str, str]
    """Files that have another name on the branch."""
    line_ends: bool = False
    """Nothing but line ends is in the way."""

    @property
    def content(self) -> Content:
        """Sum the files up."""
        return summed(self.answers.values())

    def where(self, answer: Answer) -> list[str]:
        """Return the files with an answer."""
        return [path for path, found in self.answers.items() if found is answer]


def summed(answers: Iterable[Answer]) -> Content:
    """Say what a change does to a branch. Pure.

    A file the branch does not have is left out of account, as whoever picks would: a backport often comes without the
    tests. A branch with none of the files is not affected.
    """
    found = set(answers)
    if Answer.UNKNOWN in found:
        return Content.UNKNOWN
    if Answer.CONFLICT in found:
        return Content.CONFLICTS
    if Answer.CHANGED in found:
        return Content.APPLIES
    return Content.SAME if Answer.SAME in found else Content.ABSENT


def compare(question: Question) -> Answer | None:
    """Answer what ids alone can answer; None: the contents must be merged. Pure."""
    base, ours, theirs = question
    if ours is None:
        # Created by the change, or already without it, or nothing to change.
        return Answer.CHANGED if base is None else Answer.ABSENT
    if ours == theirs:
        return Answer.SAME
    if base == theirs:
        return Answer.SAME
    if ours == base:
        return Answer.CHANGED
    special = {SYMLINK, GITLINK}
    if base is None or theirs is None or any(one.mode in special for one in (base, ours, theirs)):
        return Answer.CONFLICT
    return None


@dataclass(slots=True)
class Prober:
    """Tries patches on trees; remembers every answer."""

    bench: Bench
    renames: Renames
    known: dict[Question, Answer] = field(default_factory=dict)
    merged: dict[Question, str] = field(default_factory=dict)
    """The blob that a merge without conflict led to."""

    def try_all(self, wanted: Iterable[tuple[str, Patch]]) -> dict[tuple[str, Patch], Tried]:
        """Try patches on trees, all at once."""
        asked: dict[tuple[str, Patch], tuple[dict[str, Question | None], dict[str, str]]] = {}
        for tree, patch in dict.fromkeys(wanted):
            asked[tree, patch] = self._questions(tree, patch)
        self.ask({question for questions, _ in asked.values() for question in questions.values() if question})
        found = {}
        for (tree, patch), (questions, moved) in asked.items():
            answers = {
                path: Answer.UNKNOWN if question is None else self.known[question]
                for path, question in questions.items()
            }
            found[tree, patch] = Tried(patch, answers, moved)
        return found

    def ask(self, questions: Iterable[Question]) -> None:
        """Answer questions: those that need a merge by a single one."""
        open_: list[Question] = []
        for question in questions:
            if question in self.known:
                continue
            answer = compare(question)
            if answer is not None:
                self.known[question] = answer
            elif all(entry is not None and self.bench.has(entry.oid) for entry in question):
                open_.append(question)
            else:
                self.known[question] = Answer.UNKNOWN
        if open_:
            self._merge(open_)

    def _questions(self, tree: str, patch: Patch) -> tuple[dict[str, Question | None], dict[str, str]]:
        questions: dict[str, Question | None] = {}
        moved: dict[str, str] = {}
        for change in patch.changes:
            try:
                ours = self.bench.at(tree, change.path)
                if ours is None and change.old is not None:
                    place = self.renames.find(tree, patch, change)
                    if place is not None:
                        moved[change.path] = place
                        ours = self.bench.at(tree, place)
            except MissingObject:
                questions[change.path] = None
            else:
                questions[change.path] = Question(change.old, ours, change.new)
        return questions, moved

    def _merge(self, questions: list[Question]) -> None:
        sides: tuple[dict[str, Entry], dict[str, Entry], dict[str, Entry]] = ({}, {}, {})
        for number, question in enumerate(questions):
            for side, entry in zip(sides, question, strict=True):
                assert entry is not None
                side[str(number)] = entry
        base, ours, theirs = (self.bench.write_tree(side) for side in sides)
        before = self.bench.write_commit(base)
        done = self.bench.git.run(
            "merge-tree",
            "--write-tree",
            "-z",
            "--no-messages",
            self.bench.write_commit(ours, before),
            self.bench.write_commit(theirs, before),
            ok=(0, 1),
        )
        tree, *conflicts = decode(done.out).split("\0")
        # "<mode> <id> <stage>\t<path>"
        conflicting = {line.partition("\t")[2] for line in conflicts if line}
        result = self.bench.entries(tree)
        for number, question in enumerate(questions):
            name = str(number)
            merged = result.get(name)
            if name in conflicting or merged is None:
                self.known[question] = Answer.CONFLICT
            else:
                self.known[question] = Answer.SAME if merged == question.ours else Answer.CHANGED
                self.merged[question] = merged.oid


def without_carriage_returns(bench: Bench, patch: Patch, tree: str) -> tuple[Patch, dict[str, Entry]] | None:
    """Return a patch and a branch's files with plain line ends, or None where they have those anyway."""
    from dataclasses import replace  # noqa: PLC0415

    found = False

    def plain(entry: Entry | None) -> Entry | None:
        nonlocal found
        if entry is None or entry.mode in {SYMLINK, GITLINK} or not bench.has(entry.oid):
            return entry
        content = bench.read(entry.oid)
        if b"\r\n" not in content:
            return entry
        found = True
        return Entry(entry.mode, bench.write_blob(content.replace(b"\r\n", b"\n")))

    changes = []
    files: dict[str, Entry] = {}
    for change in patch.changes:
        ours = plain(bench.at(tree, change.path))
        if ours is not None:
            files[change.path] = ours
        changes.append(replace(change, old=plain(change.old), new=plain(change.new)))
    return (replace(patch, changes=tuple(changes)), files) if found else None
