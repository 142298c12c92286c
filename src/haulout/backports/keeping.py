"""Write down what was picked: every pick makes a fix record grow, so the next branch is easier to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.backports import history, library, records
from haulout.backports.signals import identifiers
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from haulout.backports.model import Commit, Fix
    from haulout.backports.pick import Picked
    from haulout.backports.records import Record
    from haulout.backports.repository import Repository


def keep(
    repository: Repository,
    book: Path | None,
    branch: str,
    picked: Sequence[Picked],
    wanted: Sequence[Fix],
    name: str | None,
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Grow the records of what was picked, making those that are missing; return their files and ids.

    Args:
        repository: the library.
        book: the ledger; None: nothing is written down.
        branch: what was picked onto.
        picked: the commits made.
        wanted: the fixes asked for, which say what belongs together; empty after ``--continue``.
        name: the id of a record to make; by default the CVE a commit speaks of, or its own id.
    """
    if book is None or not picked:
        return (), ()
    known = list(records.load_all(book))
    groups = _groups(picked, wanted, known)
    paths: list[Path] = []
    ids: list[str] = []
    for members, there in groups:
        record = there or _new(repository, book, members, name if len(groups) == 1 else None, known)
        if there is None:
            known.append(record)
        records.grow(record, branch, [one.commit for one in members])
        paths.append(record.path)
        ids.append(record.id)
    return tuple(dict.fromkeys(paths)), tuple(dict.fromkeys(ids))


def check_id(book: Path | None, name: str | None, sources: Sequence[str] | None) -> None:
    """Refuse the id of a record that could not be made, before anything is picked."""
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


def _new(
    repository: Repository, book: Path, members: Sequence[Picked], name: str | None, known: Sequence[Record]
) -> Record:
    sources = history.commits(repository, [one.source for one in members])
    told = _identifiers(sources)
    # A file may be called otherwise than the id in it.
    taken = {name for record in known for name in (record.id, record.path.stem)}
    choices = [name] if name else [*told, f"commit-{members[0].source[:12]}"]
    chosen = next((one for one in choices if one not in taken), f"commit-{members[0].source[:12]}")
    with repository.bench() as bench:
        of = library.name(repository, bench, members[-1].commit)
    return records.create(
        book,
        chosen,
        library=of,
        summary=sources[-1].subject if sources else members[-1].subject,
        commits=[one.source for one in members],
        aliases=[one for one in told if one != chosen],
    )


def _identifiers(commits: Sequence[Commit]) -> list[str]:
    return list(dict.fromkeys(one for commit in commits for one in identifiers(commit.message)))
