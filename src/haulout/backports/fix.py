"""From what a person names to a fix: a commit, a series ``A..B``, a pull request ``#N``, or the id of a record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from haulout.backports import history, records
from haulout.backports.model import Fix
from haulout.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.model import Commit
    from haulout.backports.records import Record
    from haulout.backports.repository import Repository

_REQUEST: Final = re.compile(r"[#!]([1-9]\d{0,9})")
_MOST: Final = 100
"""Commits that a merge is taken for; one that brought more is taken as one."""


def resolve(
    repository: Repository, name: str, known: Sequence[Record], *, mainline: int | None = None, parent: int = 1
) -> Fix:
    """Return the fix that a name means; a commit that a record lists brings the record with it.

    A merge is the commits that it brought, unless that are very many.

    Args:
        repository: the library.
        name: as typed: a commit, a series, the id of a record, or ``#N`` for a pull request.
        known: all records.
        mainline: take merge commits as one commit each, with this parent as what they went onto.
        parent: of a merge, the parent that its commits were merged into, counted from 1.

    Raises:
        NotFoundError: neither a record nor a commit has that name.
        UsageError: the series is empty, or the name means several things.
    """
    record = records.find(known, name)
    if record is not None:
        return of_record(repository, record)
    request = _REQUEST.fullmatch(name)
    if request is not None and repository.find(name) is None:
        return pull_request(repository, name, int(request[1]), mainline=mainline)
    if ".." in name:
        return Fix(name, tuple(history.commits(repository, _series(repository, name, mainline))))
    try:
        oid = repository.resolve(name)
    except NotFoundError as error:
        raise NotFoundError(
            f"neither a fix record nor a commit: {name!r}",
            hint=f"records: {', '.join(one.id for one in known[:8])}"
            if known
            else error.hint
            if repository.shallow
            else "fetch it, or name the ledger beside the fix records: --ledger FILE",
        ) from error
    record = next((one for one in known if one.holds(oid) and len(one.commits) == 1), None)
    (commit,) = history.commits(repository, [oid])
    if record is not None or mainline is not None:
        return Fix(name, (commit,), record=record)
    return of_commit(repository, name, commit, parent)


def of_commit(repository: Repository, name: str, commit: Commit, mainline: int = 1) -> Fix:
    """Return the fix that a commit is; a merge is the commits that it brought into a parent, unless they are very many.

    Raises:
        UsageError: there is no such parent.
    """
    if len(commit.parents) < 2:
        return Fix(name, (commit,))
    if mainline > len(commit.parents):
        raise UsageError(f"{commit.oid[:12]} has no parent {mainline}", hint=f"it has {len(commit.parents)}")
    onto = commit.parents[mainline - 1]
    brought = repository.revisions("--reverse", "--topo-order", "--no-merges", f"^{onto}", commit.oid)
    if not 0 < len(brought) <= _MOST:
        return Fix(name, (commit,))
    return Fix(name, tuple(history.commits(repository, brought)), whole=commit)


def pull_request(repository: Repository, name: str, number: int, *, mainline: int | None = None) -> Fix:
    """Return what a pull request brought, where this clone has the ref of its head: ``refs/pull/N/head`` and the like.

    Raises:
        NotFoundError: there is no such ref, and no commit on the main branch names it.
    """
    main = repository.mainline().tip
    head = next((oid for ref in _refs(repository, number) if (oid := repository.find(ref)) is not None), None)
    squash = _squash(repository, number, main)
    if head is not None and repository.is_ancestor(head, main):
        entry = history.entry(repository, head, main)
        if entry is not None:
            (merge,) = history.commits(repository, [entry])
            return Fix(name, (merge,)) if mainline is not None else of_commit(repository, name, merge)
    if squash is not None:
        return of_commit(repository, name, squash) if mainline is None else Fix(name, (squash,))
    if head is None:
        ref = f"refs/pull/{number}/head"
        raise NotFoundError(
            f"no pull request {name} in {repository.path}",
            hint=f"fetch it: git fetch {repository.remote() or 'REMOTE'} {ref}:{ref}",
        )
    fork = repository.merge_base(head, main)
    brought = repository.revisions("--reverse", "--topo-order", "--no-merges", head, *([f"^{fork}"] if fork else []))
    if not brought:
        raise NotFoundError(f"{name} brings nothing")
    return Fix(name, tuple(history.commits(repository, brought)))


def _refs(repository: Repository, number: int) -> list[str]:
    remotes = repository.remotes()
    kinds = (f"pull/{number}/head", f"merge-requests/{number}/head", f"pull/{number}", f"merge-requests/{number}")
    return [
        *(f"refs/{kind}" for kind in kinds),
        *(f"refs/remotes/{remote}/{kind}" for remote in remotes for kind in (*kinds, f"pr/{number}")),
    ]


def _squash(repository: Repository, number: int, main: str) -> Commit | None:
    """Return the commit on the main branch by which a pull request came in, by what GitHub and GitLab write."""
    said = rf"(\(#{number}\)$|^Merge pull request #{number} |^See merge request .*!{number}$)"
    found = history.between(repository, "--first-parent", "--extended-regexp", f"--grep={said}", main)
    names = re.compile(
        rf"\A(?:Merge pull request #{number} |.*\(#{number}\)$)|^See merge request .*!{number}$", re.MULTILINE
    )
    return next((one for one in found if names.search(one.message)), None)


def of_record(repository: Repository, record: Record) -> Fix:
    """Return the fix of a record; commits that are not in this clone are listed apart."""
    found, unknown = [], []
    for oid in record.commits:
        here = repository.find(oid)
        if here is None:
            unknown.append(oid)
        else:
            found.append(here)
    if not found:
        # A backport that is here stands in for an upstream that is not.
        for backport in record.backports:
            there = [repository.find(oid) for oid in backport.commits]
            if there and all(there):
                return Fix(record.id, tuple(history.commits(repository, [str(oid) for oid in there])), (), record)
    return Fix(record.id, tuple(history.commits(repository, found)), tuple(unknown), record)


def _series(repository: Repository, name: str, mainline: int | None) -> list[str]:
    start, _, end = name.partition("..")
    if end.startswith(".") or not start or not end:
        raise UsageError(f"not a series: {name!r}", hint="write A..B: the commits in B that are not in A")
    first, last = repository.resolve(start), repository.resolve(end)
    how = "--first-parent" if mainline else "--no-merges"
    found = repository.revisions("--reverse", "--topo-order", how, f"^{first}", last)
    if not found:
        raise UsageError(
            f"the series {name} is empty", hint=f"{start} is not before {end}; should it be {end}..{start}?"
        )
    return found
