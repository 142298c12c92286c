"""The ledger: which branch of which library is kept for which consumer. A TOML file in a repository of the user's.

.. code-block:: toml

    supported = ["main", "v0.5*"]       # optional: further branches that are supported, by glob

    [[branch]]
    library = "github.com/containers/common"
    name = "crio-1.27"
    base = "v0.53.0"
    base-commit = "…"
    consumer = "crio"
    consumer-version = "1.27"
    consumer-branch = "release-1.27"
    supported = true                    # false once no consumer needs it any more

Fix records lie beside it, in the folder ``fixes``; see records.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.backports import records, toml
from haulout.backports.naming import RHEL
from haulout.documents import Document
from haulout.errors import NotFoundError
from haulout.local import Table, read_toml

if TYPE_CHECKING:
    from haulout.backports.model import StrPath

FILE: Final = "backports.toml"
VARIABLE: Final = "HAULOUT_LEDGER"
_HEAD: Final = """\
# Branches kept for consumers. "haulout backport" writes this file; you may edit it, and comments are kept.
# Fix records are in fixes/ beside it.
"""


@dataclass(frozen=True, slots=True)
class LedgerEntry(Document):
    """One branch that is kept for a consumer."""

    json_members = ("branch=name", "library", "base", "base_commit", "consumer", "consumer_version", "consumer_branch")

    library: str
    name: str
    base: str
    base_commit: str
    consumer: str
    consumer_version: str
    consumer_branch: str
    supported: bool = True

    @property
    def serves(self) -> str:
        """Who is served, for people."""
        return f"{self.consumer} {self.consumer_version}".strip()


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger as read."""

    path: Path
    branches: tuple[LedgerEntry, ...] = ()
    supported: tuple[str, ...] = ()

    def of(self, library: str) -> tuple[LedgerEntry, ...]:
        """Return the branches of a library; entries may name it shortly."""
        return tuple(entry for entry in self.branches if same_library(entry.library, library))

    def entry(self, library: str, name: str) -> LedgerEntry | None:
        """Return the entry of a branch."""
        return next((entry for entry in self.of(library) if entry.name == name), None)

    def supports(self, library: str, branch: str) -> bool:
        """Whether a branch must have every fix. Where the ledger says nothing about any branch, all must."""
        entries = self.of(library)
        own = [entry.supported for entry in entries if entry.name == branch]
        if own:
            return any(own)
        if any(fnmatchcase(branch, glob) for glob in self.supported):
            return True
        return not entries and not self.supported


def same_library(one: str, other: str) -> bool:
    """Whether two names mean one library: equal, or one is the last parts of the other's module path."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def find_ledger(given: StrPath | None = None, *, create: bool = False) -> Path | None:
    """Return the ledger to use: the one given, that of ``$HAULOUT_LEDGER``, or ``backports.toml`` in this folder.

    Args:
        given: a file, or the folder it is in.
        create: it need not exist.

    Returns:
        None where none was named and there is none.

    Raises:
        NotFoundError: the one that was named does not exist.
    """
    named = given or os.environ.get(VARIABLE)
    if not named:
        path = Path(FILE)
        return path if create or path.exists() else None
    path = Path(named)
    if path.is_dir():
        path /= FILE
    if not create and not path.exists() and not records.folder(path).is_dir():
        raise NotFoundError(f"no such ledger: {path}", hint="haulout backport branch creates one")
    return path


def path_of(ledger: StrPath | None) -> Path | None:
    """Return the path of a ledger that may be none."""
    return None if ledger is None else Path(ledger)


def load_ledger(path: Path) -> Ledger:
    """Read a ledger; one that does not exist yet is empty.

    Raises:
        InvalidFile: it breaks the format above.
    """
    if not path.exists():
        return Ledger(path)
    table = read_toml(path)
    table.end("version", "supported", "branch")
    return Ledger(path, tuple(_entry(one) for one in table.tables("branch")), table.lines("supported"))


def _entry(table: Table) -> LedgerEntry:
    table.end(*(each.name.replace("_", "-") for each in fields(LedgerEntry)), "note")
    return LedgerEntry(
        table.line("library"),
        table.line("name"),
        table.line("base"),
        table.line("base-commit", ""),
        table.line("consumer"),
        table.line("consumer-version", ""),
        table.line("consumer-branch", ""),
        table.flag("supported", default=True),
    )


def add_entry(path: Path, entry: LedgerEntry) -> None:
    """Add a branch to a ledger; the rest of the file stays as it is.

    Raises:
        InvalidFile: the ledger there is broken; it is left as it is.
        StorageError: it cannot be written.
    """
    import tomlkit  # noqa: PLC0415 - slow to import

    document = toml.edit(path, _HEAD)
    values = {name.replace("_", "-"): value for name, value in asdict(entry).items()}
    toml.append(toml.entries(document, "branch"), values)
    toml.store(path, tomlkit.dumps(document))


def usual_consumer_branch(version: str, *, rhel: bool) -> str:
    """Return the consumer's branch where none is named: ``release-1.27``."""
    return f"release-{version}{RHEL if rhel else ''}"
