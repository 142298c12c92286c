"""The ledger: which branch of which library is kept for whom. A TOML file in a repository of the user's choice.

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
    supported = true                    # false once nobody is served any more

Fix records lie beside it, in the folder ``fixes``; see records.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from haulout.backports import toml
from haulout.backports.naming import RHEL

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "backports.toml"
_HEAD: Final = """\
# Which branch of which library is kept for whom; written by "haulout backport", and by hand: comments stay.
# Fix records lie beside it, in fixes/.
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """One branch that is kept for a consumer."""

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
    branches: tuple[Kept, ...] = ()
    supported: tuple[str, ...] = ()

    def of(self, library: str) -> tuple[Kept, ...]:
        """Return the branches of a library; entries may name it shortly."""
        return tuple(kept for kept in self.branches if same_library(kept.library, library))

    def entry(self, library: str, name: str) -> Kept | None:
        """Return the entry of a branch."""
        return next((kept for kept in self.of(library) if kept.name == name), None)

    def supports(self, library: str, branch: str) -> bool:
        """Whether a branch must have every fix. Where the ledger says nothing about any branch, all must."""
        entries = self.of(library)
        own = [kept.supported for kept in entries if kept.name == branch]
        if own:
            return any(own)
        if any(fnmatchcase(branch, glob) for glob in self.supported):
            return True
        return not entries and not self.supported


def same_library(one: str, other: str) -> bool:
    """Whether two names mean one library: equal, or one is the last parts of the other's module path."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def load(path: Path) -> Ledger:
    """Read a ledger; one that does not exist yet is empty.

    Raises:
        InvalidFile: it breaks the format above.
    """
    if not path.exists():
        return Ledger(path)
    table = toml.load(path)
    table.only("version", "supported", "branch")
    return Ledger(path, tuple(_kept(one) for one in table.tables("branch")), table.texts("supported"))


def _kept(table: toml.Table) -> Kept:
    table.only(
        "library", "name", "base", "base-commit", "consumer", "consumer-version", "consumer-branch", "supported", "note"
    )
    return Kept(
        table.text("library"),
        table.text("name"),
        table.text("base"),
        table.text("base-commit", ""),
        table.text("consumer"),
        table.text("consumer-version", ""),
        table.text("consumer-branch", ""),
        table.flag("supported", default=True),
    )


def add(path: Path, kept: Kept) -> None:
    """Write one more branch into a ledger, and nothing else anew.

    Raises:
        InvalidFile: the ledger there is broken; it is left as it is.
        StorageError: it cannot be written.
    """
    import tomlkit  # noqa: PLC0415 - slow to import

    document = toml.edit(path, toml.read(path) if path.exists() else _HEAD)
    entries = toml.entries(document, "branch")
    entry = tomlkit.table()
    for key, value in as_table(kept).items():
        entry[key] = value
    entries.append(entry)
    toml.store(path, tomlkit.dumps(document))


def as_table(kept: Kept) -> dict[str, str | bool]:
    """Return an entry as the file has it."""
    return {
        "library": kept.library,
        "name": kept.name,
        "base": kept.base,
        "base-commit": kept.base_commit,
        "consumer": kept.consumer,
        "consumer-version": kept.consumer_version,
        "consumer-branch": kept.consumer_branch,
        "supported": kept.supported,
    }


def usual_consumer_branch(version: str, *, rhel: bool) -> str:
    """Return the consumer's branch that is meant where nobody says: ``release-1.27``."""
    return f"release-{version}{RHEL if rhel else ''}"
