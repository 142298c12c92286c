"""What merging a change into a tree would do, found out without a checkout.

Every question is about one file: its content before the change, after it, and on the branch. Most are answered by
comparing ids. The rest are put, each under a number, into three throw-away trees (before, branch, after), and one ``git
merge-tree`` answers all of them at once. Branches with the same content ask the same question, so 200 branches cost as
much as those that differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from haulout.backports.attributes import UNION, USUAL, WHOLE, Attributes
from haulout.backports.git import decode
from haulout.backports.model import Change, Content, Patch
from haulout.backports.naming import is_code
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.trees import GITLINK, SYMLINK, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from haulout.backports.renames import Renames


_WAYS: Final = (UNION, WHOLE)


class Answer(StrEnum):
    """What a change does to one file of a branch."""

    SAME = "same"
    CHANGED = "changed"
    CONFLICT = "conflict"
    CREATED = "created"
    """It would be a new file."""
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Question(NamedTuple):
    """One file: before the change, on the branch, and after the change; None: not there."""

    base: Entry | None
    ours: Entry | None
    theirs: Entry | None
    how: str = USUAL
    """The way to merge it, as attributes say."""


@dataclass(frozen=True)
class Tried:
    """A patch tried on a tree: what would become of each file, and where it was found."""

    patch: Patch
    answers: Mapping[str, Answer]
    moved: Mapping[str, str]
    """Files that have another name on the branch."""
    line_ends: bool = False
    """Nothing but line ends is in the way."""
    untouched: bool = False
    """The code is, byte for byte, as it was before the change."""
    ruled: Mapping[str, str] = field(default_factory=dict)
    """Files whose contents had to be merged, and for which attributes say how."""

    @cached_property
    def content(self) -> Content:
        """Sum the files up."""
        return summed(self.answers)

    def where(self, answer: Answer) -> list[str]:
        """Return the files with an answer."""
        return [path for path, found in self.answers.items() if found is answer]


def summed(answers: Mapping[str, Answer]) -> Content:
    """Say what a change does to a branch, by file. Pure.

    A file the branch does not have does not count, as in a pick by hand; a branch with none of the files that
    are changed is not affected. Whether the fix is there is read off the code, where any is changed: a backport often
    comes without tests and documents.
    """
    found = set(answers.values())
    code = {answer for path, answer in answers.items() if is_code(path)}
    if Answer.SAME in code and code <= {Answer.SAME, Answer.ABSENT}:
        return Content.SAME
    if Answer.ABSENT in found and found <= {Answer.ABSENT, Answer.CREATED}:
        return Content.ABSENT
    if Answer.UNKNOWN in found:
        return Content.UNKNOWN
    if Answer.CONFLICT in found:
        return Content.CONFLICTS
    if found & {Answer.CHANGED, Answer.CREATED}:
        return Content.APPLIES
    return Content.SAME if Answer.SAME in found else Content.ABSENT


def compare(question: Question) -> Answer | None:
    """Answer what ids alone can answer; None: the contents must be merged. Pure."""
    base, ours, theirs, _ = question
    if ours is None:
        # Created by the change, or already without it, or nothing to change.
        return Answer.CREATED if base is None else Answer.ABSENT
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


def _matters(question: Question) -> bool:
    """Whether it matters for a file how it is merged."""
    answer = compare(question)
    return answer is None or (answer is Answer.CONFLICT and question.base is None and question.theirs is not None)


def _contents(question: Question) -> list[str]:
    return [entry.oid for entry in question[:3] if entry is not None]


@dataclass(slots=True)
class Prober:
    """Tries patches on trees; remembers every answer."""

    objects: ScratchObjects
    renames: Renames
    attributes: Attributes | None = None
    """None: there are none."""
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
            ruled = {
                path: question.how
                for path, question in questions.items()
                if question is not None and question.how != USUAL and compare(question) is None
            }
            found[tree, patch] = Tried(patch, answers, moved, ruled=ruled)
        return found

    def ask(self, questions: Iterable[Question]) -> None:
        """Answer questions: those that need a merge by a single one."""
        open_: list[Question] = []
        for question in questions:
            if question not in self.known:
                answer = compare(question)
                if answer is None:
                    open_.append(question)
                else:
                    self.known[question] = answer
        if not self.objects.has_all(oid for question in open_ for oid in _contents(question)):
            self.known |= {one: Answer.UNKNOWN for one in open_ if not self.objects.has_all(_contents(one))}
            open_ = [one for one in open_ if one not in self.known]
        if open_:
            self._merge(open_)

    def by_ids(self, tree: str, patch: Patch) -> Tried | None:
        """Try a patch where ids suffice; None: something would have to be merged, or is not in this clone."""
        answers: dict[str, Answer] = {}
        moved: dict[str, str] = {}
        untouched: set[bool] = set()
        for change in patch.changes:
            try:
                entry, place = self.ours(tree, change)
            except MissingObject:
                return None
            question = Question(change.old, entry, change.new)
            answer = compare(question)
            names = {change.path: place} if place else {}
            if answer is None or question != self.ruled(tree, {change.path: question}, names)[change.path]:
                return None
            answers[change.path] = answer
            if place is not None:
                moved[change.path] = place
            if is_code(change.path):
                untouched.add(question.base is None or question.ours == question.base)
        return Tried(patch, answers, moved, untouched=untouched == {True})

    def ours(self, tree: str, change: Change) -> tuple[Entry | None, str | None]:
        """Return what a branch has of a changed file, and the other name it has there.

        Raises:
            MissingObject: a tree is not in this clone.
        """
        found = self.objects.at(tree, change.path)
        if found is None and change.old is not None:
            place = self.renames.find(tree, change.path)
            if place is not None:
                return self.objects.at(tree, place), place
        return found, None

    def _questions(self, tree: str, patch: Patch) -> tuple[dict[str, Question | None], dict[str, str]]:
        questions: dict[str, Question | None] = {}
        moved: dict[str, str] = {}
        for change in patch.changes:
            questions[change.path] = None
            try:
                entry, place = self.ours(tree, change)
            except MissingObject:
                continue
            questions[change.path] = Question(change.old, entry, change.new)
            if place is not None:
                moved[change.path] = place
        known = {path: one for path, one in questions.items() if one is not None}
        return {**questions, **self.ruled(tree, known, moved)}, moved

    def ruled(self, tree: str, questions: Mapping[str, Question], moved: Mapping[str, str]) -> dict[str, Question]:
        """Return questions about files, by path, with the way to merge them where it matters.

        Args:
            tree: a branch's root tree.
            questions: about it.
            moved: files that have another name there.

        Raises:
            MissingObject: a tree is not in this clone.
        """
        found = dict(questions)
        open_ = {
            path: moved.get(path, path) for path, one in questions.items() if one.ours is not None and _matters(one)
        }
        if self.attributes is None or not open_:
            return found
        ways = self.attributes.ways(tree, open_.values())
        for path, place in open_.items():
            how = ways[place]
            base, ours, theirs, _ = questions[path]
            if how == UNION and base is None and theirs is not None:
                # Two files of one name that know nothing of each other become one.
                base = Entry(theirs.mode, self.objects.write_blob(b""))
            if base is not None:
                found[path] = Question(base, ours, theirs, how)
        return found

    def _merge(self, questions: list[Question]) -> None:
        sides: tuple[dict[str, Entry], dict[str, Entry], dict[str, Entry]] = ({}, {}, {})
        for number, question in enumerate(questions):
            for side, entry in zip(sides, question[:3], strict=True):
                assert entry is not None
                side[str(number)] = entry
        self.objects.copy(entry.oid for side in sides for entry in side.values())
        base, ours, theirs = (self.objects.write_tree(side) for side in sides)
        before = self.objects.write_commit(base)
        self.objects.attribute(f"{number} merge={one.how}" for number, one in enumerate(questions) if one.how in _WAYS)
        done = self.objects.isolated.run(
            "merge-tree",
            "--write-tree",
            "-z",
            "--no-messages",
            self.objects.write_commit(ours, before),
            self.objects.write_commit(theirs, before),
            ok=(0, 1),
        )
        tree, *conflicts = decode(done.out).split("\0")
        # "<mode> <id> <stage>\t<path>"
        conflicting = {line.partition("\t")[2] for line in conflicts if line}
        result = self.objects.entries(tree)
        for number, question in enumerate(questions):
            name = str(number)
            merged = result.get(name)
            if name in conflicting or merged is None:
                self.known[question] = Answer.CONFLICT
            else:
                self.known[question] = Answer.SAME if merged == question.ours else Answer.CHANGED
                self.merged[question] = merged.oid
