"""Turn commits into patches: what they change, file by file, and several of them as one."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from haulout.backports import history
from haulout.backports.git import decode, encode
from haulout.backports.model import Change, Patch
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.backports.probe import Answer, Prober, Question
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.repository import Repository
    from haulout.backports.trees import Entry

_MANY: Final = 100
"""Paths above which git is not asked to pick them out of every commit."""


def patch_of(objects: ScratchObjects, oid: str, *, mainline: int = 1, paths: Sequence[str] = ()) -> Patch | None:
    """Return what a commit changes against its parent, or None where this clone does not hold all of it.

    Args:
        objects: where objects are read.
        oid: the commit.
        mainline: of a merge, the parent it is compared with, counted from 1.
        paths: globs; where there are any, only files that match one count.

    Raises:
        UsageError: there is no such parent.
    """
    try:
        commit = objects.commit(oid)
        before = objects.empty_tree
        if commit.parents:
            number = mainline if len(commit.parents) > 1 else 1
            if number > len(commit.parents):
                raise UsageError(f"{oid[:12]} has no parent {number}", hint=f"it has {len(commit.parents)}")
            before = objects.commit(commit.parents[number - 1]).tree
        changes = [
            Change(path, old, new)
            for path, old, new in objects.all_changes(before, commit.tree)
            # "**" and "*" both match across folders.
            if not paths or any(fnmatchcase(path, glob) for glob in paths)
        ]
    except MissingObject:
        return None
    return Patch((oid,), tuple(changes), before)


def squashed(prober: Prober, patches: Sequence[Patch]) -> Patch | None:
    """Return several patches in order as one, or None where one does not go onto what those before it left.

    They need not follow each other directly: what other commits changed in between is merged away, file by file.
    """
    if len(patches) == 1:
        return patches[0]
    first: dict[str, Entry | None] = {}
    last: dict[str, Entry | None] = {}
    for one in patches:
        for change in one.changes:
            path = change.path
            first.setdefault(path, change.old)
            state = last.get(path, change.old)
            question = Question(change.old, state, change.new)
            if state == change.old:
                last[path] = change.new
                continue
            prober.ask([question])
            answer = prober.known[question]
            if answer is Answer.CHANGED and question in prober.merged:
                assert state is not None
                last[path] = state._replace(oid=prober.merged[question])
            elif answer is not Answer.SAME:
                return None
    changes = tuple(Change(path, first[path], last[path]) for path in sorted(first) if first[path] != last[path])
    return Patch(tuple(oid for one in patches for oid in one.commits), changes)


def patch_ids(
    repository: Repository, objects: ScratchObjects, oids: Sequence[str], paths: Sequence[str]
) -> dict[str, str]:
    """Return the patch-ids of commits, over these files alone: so a backport that also changes another is recognised.

    Of many files, throw-away commits are made that change nothing else, under numbers for names: git compares every
    name in a tree with every path that it is given, and reads every folder.
    """
    if len(paths) <= _MANY or not oids:
        return history.patch_ids_of(repository, oids, paths)
    names = {path: str(number) for number, path in enumerate(paths)}
    made: dict[str, list[str]] = {}
    for oid in oids:
        patch = patch_of(objects, oid)
        changes = [change for change in patch.changes if change.path in names] if patch is not None else []
        if changes:
            old = {names[change.path]: change.old for change in changes if change.old is not None}
            new = {names[change.path]: change.new for change in changes if change.new is not None}
            before = objects.write_commit(objects.write_tree(old))
            made.setdefault(objects.write_commit(objects.write_tree(new), before), []).append(oid)
    how = ("log", "--no-walk=unsorted", "--patch", *history.PLAIN, "--format=commit %H", "--stdin")
    out = objects.git.piped(how, ("patch-id", "--stable"), encode("\n".join([*made, ""])))
    found = dict(line.split(" ")[::-1] for line in decode(out).splitlines())
    return {oid: identity for one, identity in found.items() for oid in made[one]}
