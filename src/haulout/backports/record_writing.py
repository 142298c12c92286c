"""Write down what was picked: every pick makes a fix record grow, so the next branch is easier to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.backports import history, library, records, toml
from haulout.backports.records import New
from haulout.backports.trailers import identifiers
from haulout.errors import ConflictError, HauloutError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from haulout.backports.model import Commit, Fix
    from haulout.backports.pick import Picked
    from haulout.backports.records import Record
    from haulout.backports.repository import Repository


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What should have been written down and could not be, although the picks are made."""

    path: Path
    """The file."""
    reason: str
    text: str
    """What is to be added to it."""


@dataclass(frozen=True, slots=True)
class Entered:
    """What was written down."""

    paths: tuple[Path, ...] = ()
    """Fix records that were made, or grown."""
    ids: tuple[str, ...] = ()
    """Of the records of what was picked."""
    unwritten: tuple[Unwritten, ...] = ()


def keep(
    repository: Repository,
    book: Path | None,
    branch: str,
    picked: Sequence[Picked],
    wanted: Sequence[Fix],
    name: str | None,
) -> Entered:
    """Grow the records of what was picked, making those that are missing.

    The branch has moved by then: what cannot be written is told, not raised.

    Args:
        repository: the library.
        book: the ledger; None: nothing is written down.
        branch: what was picked onto.
        picked: the commits made.
        wanted: the fixes asked for, which say what belongs together; empty after ``--continue``.
        name: the id of a record to make; by default the CVE a commit speaks of, or its own id.
    """
    if book is None or not picked:
        return Entered()
    try:
        with toml.alone(book.parent):
            return _enter(repository, book, branch, picked, wanted, name)
    except ConflictError as error:
        return _enter(repository, book, branch, picked, wanted, name, busy=error)


def _enter(
    repository: Repository,
    book: Path,
    branch: str,
    picked: Sequence[Picked],
    wanted: Sequence[Fix],
    name: str | None,
    *,
    busy: ConflictError | None = None,
) -> Entered:
    """Write all of it down, or nothing where somebody else is ``busy`` there; what is not written is told."""
    try:
        known = list(records.load_all(book))
    except HauloutError:
        # They were fine when the picks began. Each is told on its own below, where it cannot be grown.
        known = [fix.record for fix in wanted if fix.record is not None]
    groups = _groups(picked, wanted, known)
    paths: list[Path] = []
    ids: list[str] = []
    unwritten: list[Unwritten] = []
    for members, there in groups:
        commits = [one.commit for one in members]
        new = _new(repository, members, name if len(groups) == 1 else None, known) if there is None else None
        path = records.folder(book) / f"{new.id}.toml" if new is not None else there.path if there else book
        ids.append(new.id if new is not None else there.id if there else "")
        try:
            record = _written(book, new, there, branch, commits, busy)
        except HauloutError as error:
            begun = records.text(new) if new is not None and not path.is_file() else ""
            unwritten.append(Unwritten(path, error.message, begun + records.backport_text(branch, commits)))
            continue
        known.append(record)
        paths.append(path)
    return Entered(tuple(dict.fromkeys(paths)), tuple(dict.fromkeys(ids)), tuple(unwritten))


def _written(
    book: Path,
    new: New | None,
    there: Record | None,
    branch: str,
    commits: Sequence[str],
    busy: ConflictError | None,
) -> Record:
    if busy is not None:
        raise busy
    record = records.create(book, new) if new is not None else there
    assert record is not None
    records.grow(record, branch, commits)
    return record


def check(book: Path | None, name: str | None, sources: Sequence[str] | None) -> None:
    """Refuse a record that could not be made, before anything is picked: for its id, or for where it would be."""
    if book is not None:
        toml.check_folder(records.folder(book))
    if name is None:
        return
    records.checked_id(name)
    for record in records.load_all(book) if book is not None else ():
        taken = record.named(name) or record.path.stem == name
        if taken and sources is not None and not any(record.knows(one) for one in sources):
            raise UsageError(
                f"{name} is another fix: {record.path}", hint="choose another --id, or add the commits to that record"
            )


def _groups(
    picked: Sequence[Picked], wanted: Sequence[Fix], known: Sequence[Record]
) -> list[tuple[list[Picked], Record | None]]:
    """Say which picks belong to one fix. Pure."""
    left = [one for one in picked if one.source]
    found: list[tuple[list[Picked], Record | None]] = []
    for fix in wanted:
        oids = {commit.oid for commit in fix.commits}
        members = [one for one in left if one.source in oids]
        left = [one for one in left if one.source not in oids]
        if members:
            record = fix.record or next((each for each in known if each.knows(members[0].source)), None)
            found.append((members, record))
    for record in known:
        members = [one for one in left if record.knows(one.source)]
        left = [one for one in left if one not in members]
        if members:
            found.append((members, record))
    if left:
        # After --continue nobody says any more what was asked as one; they were picked together.
        found.append((left, None))
    return found


def _new(repository: Repository, members: Sequence[Picked], name: str | None, known: Sequence[Record]) -> New:
    sources = history.commits(repository, [one.source for one in members])
    told = _identifiers(sources)
    # A file may be called otherwise than the id in it.
    taken = {name for record in known for name in (record.id, record.path.stem)}
    choices = [name] if name else [*told, f"commit-{members[0].source[:12]}"]
    chosen = next((one for one in choices if one not in taken), f"commit-{members[0].source[:12]}")
    with repository.bench() as bench:
        of = library.name(repository, bench, members[-1].commit, sure=False)
    return New(
        chosen,
        of,
        sources[-1].subject if sources else members[-1].subject,
        tuple(one.source for one in members),
        tuple(one for one in told if one != chosen),
    )


def _identifiers(commits: Sequence[Commit]) -> list[str]:
    return list(dict.fromkeys(one for commit in commits for one in identifiers(commit.message)))
