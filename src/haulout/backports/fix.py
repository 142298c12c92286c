"""From what a person names to a fix: a commit, a series ``A..B``, or the id of a fix record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.backports import history, records
from haulout.backports.model import Fix
from haulout.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.records import Record
    from haulout.backports.repository import Repository


def resolve(
    repository: Repository, name: str, known: Sequence[Record], *, merges: bool = False, mainline: int | None = None
) -> Fix:
    """Return the fix that a name means; a commit that a record lists brings the record with it.

    Args:
        repository: the library.
        name: as typed.
        known: all records.
        merges: let a series have its merge commits, which bring nothing but what its other commits do.
        mainline: take merge commits of a series as one commit each, with this parent as what they went onto.

    Raises:
        NotFoundError: neither a record nor a commit has that name.
        UsageError: the series is empty, or the name means several things.
    """
    record = records.find(known, name)
    if record is not None:
        return of_record(repository, record)
    if ".." in name:
        return Fix(
            name, tuple(history.commits(repository, _series(repository, name, merges=merges, mainline=mainline)))
        )
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
    return Fix(name, tuple(history.commits(repository, [oid])), record=record)


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


def _series(repository: Repository, name: str, *, merges: bool, mainline: int | None) -> list[str]:
    start, _, end = name.partition("..")
    if end.startswith(".") or not start or not end:
        raise UsageError(f"not a series: {name!r}", hint="write A..B: the commits in B that are not in A")
    first, last = repository.resolve(start), repository.resolve(end)
    found = repository.revisions(
        "--reverse",
        "--topo-order",
        *(["--first-parent"] if mainline else [] if merges else ["--no-merges"]),
        f"^{first}",
        last,
    )
    if not found:
        raise UsageError(
            f"the series {name} is empty", hint=f"{start} is not before {end}; should it be {end}..{start}?"
        )
    return found
