"""Write fix records: every pick is added to one, so that the next branch is easier to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.backports import history, records, toml
from haulout.backports.model import Fix, Picked, Unwritten
from haulout.backports.naming import library_name
from haulout.backports.records import NewRecord, Record
from haulout.backports.trailers import identifiers
from haulout.errors import ConflictError, HauloutError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from haulout.backports.repository import Repository


@dataclass(frozen=True, slots=True)
class WrittenRecords:
    """The fix records that were written, and those that could not be."""

    paths: tuple[Path, ...] = ()
    ids: tuple[str, ...] = ()
    unwritten: tuple[Unwritten, ...] = ()


def write_records(
    repository: Repository,
    ledger: Path | None,
    branch: str,
    picked: Sequence[Picked],
    wanted: Sequence[Fix],
    name: str | None,
) -> WrittenRecords:
    """Add picks to their fix records, creating those that are missing.

    The branch has moved by then: what cannot be written is returned, not raised.

    Args:
        repository: the library.
        ledger: the ledger; None: nothing is written.
        branch: what was picked onto.
        picked: the commits made.
        wanted: the fixes asked for, which say what belongs together; empty after ``--continue``.
        name: the id of a record to create; by default the CVE that a commit names, or its own id.
    """
    if ledger is None or not picked:
        return WrittenRecords()
    try:
        with toml.exclusive(ledger.parent):
            return _write_all(repository, ledger, branch, picked, wanted, name)
    except ConflictError as error:
        return _write_all(repository, ledger, branch, picked, wanted, name, busy=error)


def _write_all(
    repository: Repository,
    ledger: Path,
    branch: str,
    picked: Sequence[Picked],
    wanted: Sequence[Fix],
    name: str | None,
    *,
    busy: ConflictError | None = None,
) -> WrittenRecords:
    """Write all records, or none where another process is ``busy`` there."""
    try:
        known = list(records.load_all(ledger))
    except HauloutError:
        # They were fine when the picks began. Each that cannot be extended is reported on its own below.
        known = [fix.record for fix in wanted if fix.record is not None]
    groups = _groups(picked, wanted, known)
    paths: list[Path] = []
    ids: list[str] = []
    unwritten: list[Unwritten] = []
    for members, there in groups:
        commits = [one.commit for one in members]
        new = _new(repository, members, name if len(groups) == 1 else None, known) if there is None else None
        path = records.folder(ledger) / f"{new.id}.toml" if new is not None else there.path if there else ledger
        ids.append(new.id if new is not None else there.id if there else "")
        try:
            if busy is not None:
                raise busy
            record = records.create(ledger, new) if new is not None else there
            assert record is not None
            records.add_backport(record, branch, commits)
        except HauloutError as error:
            start = records.text(new) if new is not None and not path.is_file() else ""
            unwritten.append(Unwritten(path, error.message, start + records.backport_text(branch, commits)))
            continue
        known.append(record)
        paths.append(path)
    return WrittenRecords(tuple(dict.fromkeys(paths)), tuple(dict.fromkeys(ids)), tuple(unwritten))


def check_records(ledger: Path | None, name: str | None, sources: Sequence[str] | None) -> None:
    """Refuse a record that could not be written, for its id or its place, before anything is picked."""
    if ledger is not None:
        toml.check_folder(records.folder(ledger))
    if name is None:
        return
    records.checked_id(name)
    for record in records.load_all(ledger):
        taken = record.named(name) or record.path.stem == name
        if taken and sources is not None and not any(record.knows(one) for one in sources):
            raise UsageError(
                f"the id {name} belongs to another fix: {record.path}",
                hint="choose another --id, or add the commits to that record",
            )


def _groups(
    picked: Sequence[Picked], wanted: Sequence[Fix], known: Sequence[Record]
) -> list[tuple[list[Picked], Record | None]]:
    """Group the picks by the fix they belong to. Pure."""
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
        # After --continue it is not known any more which belonged together; they were picked together.
        found.append((left, None))
    return found


def _new(repository: Repository, members: Sequence[Picked], name: str | None, known: Sequence[Record]) -> NewRecord:
    sources = history.commits(repository, [one.source for one in members])
    named = list(dict.fromkeys(one for commit in sources for one in identifiers(commit.message)))
    # A file may be called otherwise than the id in it.
    taken = {name for record in known for name in (record.id, record.path.stem)}
    choices = [name] if name else [*named, f"commit-{members[0].source[:12]}"]
    chosen = next((one for one in choices if one not in taken), f"commit-{members[0].source[:12]}")
    with repository.scratch_objects() as objects:
        of = library_name(repository, objects, members[-1].commit, sure=False)
    return NewRecord(
        chosen,
        of,
        sources[-1].subject if sources else members[-1].subject,
        tuple(one.source for one in members),
        tuple(one for one in named if one != chosen),
    )
