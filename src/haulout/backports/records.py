"""Fix records: what is known about a fix, one TOML file each, in the folder ``fixes`` beside the ledger.

.. code-block:: toml

    id = "CVE-2024-9341"
    aliases = ["GHSA-mc76-5925-c5p6"]
    summary = "subscriptions: do not follow symlinks out of the container"
    library = "github.com/containers/common"
    commits = ["5a550b6f…"]             # upstream, in order
    introduced-in = ["…"]               # optional: a branch without it is not affected
    paths = ["pkg/**"]                  # optional: only these files count

    [[backport]]                        # one for every branch; added by "pick"
    branch = "v0.57"
    commits = ["39ffcb8c…"]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.backports import toml
from haulout.backports.trailers import same_commit
from haulout.errors import InvalidFile, UsageError
from haulout.local import Table, read_toml, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


FOLDER: Final = "fixes"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OID: Final = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class Backport:
    """The commits that are the fix on one branch."""

    branch: str
    commits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read."""

    path: Path
    id: str
    commits: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    summary: str = ""
    library: str = ""
    introduced_in: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    backports: tuple[Backport, ...] = ()

    def named(self, name: str) -> bool:
        """Whether a person may mean this record."""
        wanted = name.casefold()
        return any(known.casefold() == wanted for known in (self.id, *self.aliases))

    def knows(self, commit: str) -> bool:
        """Whether a commit is one of the fix's, upstream or on a branch."""
        every = (*self.commits, *(oid for backport in self.backports for oid in backport.commits))
        return any(same_commit(commit, own) for own in every)

    def holds(self, commit: str) -> bool:
        """Whether a commit is one of the fix's upstream."""
        return any(same_commit(commit, own) for own in self.commits)


def folder(ledger: Path) -> Path:
    """Return where the records of a ledger are."""
    return ledger.parent / FOLDER


def load_all(ledger: Path | None) -> tuple[Record, ...]:
    """Read every record beside a ledger; without one there are none.

    Raises:
        InvalidFile: one breaks the format above, or two have the same id.
    """
    if ledger is None:
        return ()
    with storage_errors(folder(ledger)):
        paths = sorted(folder(ledger).glob("*.toml"))
    found: dict[str, Record] = {}
    for path in paths:
        record = load(path)
        if record.id in found:
            raise InvalidFile(path, f"has the same id as {found[record.id].path}", where="id")
        found[record.id] = record
    return tuple(found.values())


def load(path: Path) -> Record:
    """Read one record."""
    table = read_toml(path)
    table.end(
        "id", "aliases", "summary", "library", "commits", "introduced-in", "paths", "backport", "note", "references"
    )
    name = table.line("id")
    if not _ID.fullmatch(name):
        raise table.wrong("id", "expected letters, digits, dots, dashes and underscores")
    backports = []
    for one in table.tables("backport"):
        one.end("branch", "commits", "note")
        backports.append(Backport(one.line("branch"), _oids(one, "commits")))
    return Record(
        path,
        name,
        _oids(table, "commits"),
        table.lines("aliases"),
        table.line("summary", ""),
        table.line("library", ""),
        _oids(table, "introduced-in"),
        table.lines("paths"),
        tuple(backports),
    )


def _oids(table: Table, key: str) -> tuple[str, ...]:
    found = table.lines(key)
    for oid in found:
        if not _OID.fullmatch(oid):
            raise table.wrong(key, f"{oid[:80]!r} is not a commit id", hint="write it in full, as git log shows it")
    return found


def find(records: Iterable[Record], name: str) -> Record | None:
    """Return the record that a name means, or None.

    Raises:
        UsageError: several have it as an alias.
    """
    found = [record for record in records if record.named(name)]
    exact = [record for record in found if record.id == name]
    if len(found) > 1 and len(exact) != 1:
        raise UsageError(f"several fixes have the alias {name!r}: {', '.join(record.id for record in found)}")
    return next(iter(exact or found), None)


def checked_id(name: str) -> str:
    """Return a name for a new record.

    Raises:
        UsageError: it could not be the name of a file.
    """
    if not _ID.fullmatch(name):
        raise UsageError(f"not a fix id: {name[:80]!r}", hint="use letters, digits, dots, dashes, underscores")
    return name


def add_backport(record: Record, branch: str, commits: Sequence[str]) -> None:
    """Add to a record that a branch has the fix now, by these commits. Adding it twice changes nothing.

    Raises:
        StorageError: it cannot be written.
    """
    import tomlkit  # noqa: PLC0415 - slow to import

    document = toml.edit(record.path)
    entries = toml.entries(document, "backport")
    for entry in entries:
        if entry.get("branch") == branch:
            known = entry.get("commits", [])
            known = [known] if isinstance(known, str) else known
            new = [oid for oid in commits if not any(same_commit(oid, old) for old in known)]
            if not new:
                return
            if "commits" in entry and known is entry["commits"]:
                known.extend(new)
            else:
                entry["commits"] = [*known, *new]
            break
    else:
        toml.append(entries, {"branch": branch, "commits": list(commits)})
    toml.store(record.path, tomlkit.dumps(document))


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be written."""

    id: str
    library: str
    summary: str
    commits: tuple[str, ...]
    aliases: tuple[str, ...] = ()


def create(ledger: Path, new: NewRecord) -> Record:
    """Write a new record beside a ledger.

    Raises:
        UsageError: its id could not be the name of a file.
        StorageError: it cannot be written.
    """
    path = folder(ledger) / f"{checked_id(new.id)}.toml"
    toml.store(path, text(new))
    return load(path)


def text(new: NewRecord) -> str:
    """Return a new record as its file has it. Pure."""
    import tomlkit  # noqa: PLC0415 - slow to import

    aliases = {"aliases": list(new.aliases)} if new.aliases else {}
    rest = {"summary": new.summary, "library": new.library, "commits": list(new.commits)}
    return tomlkit.dumps({"id": new.id, **aliases, **rest})


def backport_text(branch: str, commits: Sequence[str]) -> str:
    """Return what is added to a record for a branch, as its file has it. Pure."""
    import tomlkit  # noqa: PLC0415 - slow to import

    return tomlkit.dumps({"backport": [{"branch": branch, "commits": list(commits)}]})
