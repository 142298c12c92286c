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
from haulout.backports.objects import GITLINK, SYMLINK, Entry, MissingObject, ScratchObjects

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
            if question in self.known:
                continue
            answer = compare(question)
            if answer is not None:
                self.known[question] = answer
            elif all(entry is not None and self.objects.has(entry.oid) for entry in question[:3]):
                open_.append(question)
            else:
                self.known[question] = Answer.UNKNOWN
        if open_:
            self._merge(open_)

    def by_ids(self, tree: str, patch: Patch) -> Tried | None:
        """Try a patch where ids suffice; None: something would have to be merged, or is not in this clone."""
        questions, moved = self._questions(tree, patch)
        answers: dict[str, Answer] = {}
        for path, question in questions.items():
            answer = None if question is None else compare(question)
            if question is None or answer is None:
                return None
            answers[path] = answer
        untouched = all(
            question is not None and (question.ours == question.base or question.base is None)
            for path, question in questions.items()
            if is_code(path)
        )
        return Tried(patch, answers, moved, untouched=untouched and any(map(is_code, questions)))

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
            try:
                entry, place = self.ours(tree, change)
                how = self.attributes.merging(tree, place or change.path) if self.attributes and entry else USUAL
            except MissingObject:
                questions[change.path] = None
                continue
            base = change.old
            if how == UNION and base is None and change.new is not None:
                # Two files of one name that know nothing of each other become one.
                base = Entry(change.new.mode, self.objects.write_blob(b""))
            questions[change.path] = Question(base, entry, change.new, how)
            if place is not None:
                moved[change.path] = place
        return questions, moved

    def _merge(self, questions: list[Question]) -> None:
        sides: tuple[dict[str, Entry], dict[str, Entry], dict[str, Entry]] = ({}, {}, {})
        for number, question in enumerate(questions):
            for side, entry in zip(sides, question[:3], strict=True):
                assert entry is not None
                side[str(number)] = entry
        for question in questions:
            for entry in question[:3]:
                assert entry is not None
                self.objects.copy(entry.oid)
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
