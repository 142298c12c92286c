"""Turn commits into patches: what they change, file by file, and several of them as one."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from haulout.backports.model import Change, Patch
from haulout.backports.objects import Entry, MissingObject, ScratchObjects
from haulout.backports.probe import Answer, Prober, Question
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


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
            for path, old, new in objects.changes(before, commit.tree)
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
