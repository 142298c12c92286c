"""Which branches must have fixes, and for whom they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.backports.model import Cell, Evidence, State
from haulout.backports.repository import Branch, matching

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from haulout.backports.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Support:
    """Which branches must have fixes, and for which consumers they are kept."""

    ledger: Ledger | None
    library: str
    globs: Sequence[str]

    def must(self, branch: Branch) -> bool:
        """Whether a branch must have every fix."""
        if self.globs:
            return bool(matching([branch], self.globs))
        return self.ledger is None or self.ledger.supports(self.library, branch.name)

    def absent(self, known: Collection[str], globs: Sequence[str]) -> tuple[Cell, ...]:
        """Return the cells of supported branches of the ledger that are not in this clone: their state is unknown."""
        entries = self.ledger.of(self.library) if self.ledger is not None and not self.globs else ()
        names = dict.fromkeys(one.name for one in entries if one.supported and one.name not in known)
        gone = matching([Branch(name, f"refs/heads/{name}", "") for name in names], globs)
        why = (Evidence("clone", "the ledger has it, and this clone does not: fetch it"),)
        return tuple(Cell(one, State.UNKNOWN, why, supported=True, consumers=self.served(one)) for one in gone)

    def served(self, branch: Branch) -> tuple[str, ...]:
        """Return the consumers that a branch is kept for."""
        if self.ledger is None:
            return ()
        return tuple(entry.serves for entry in self.ledger.of(self.library) if entry.name == branch.name)
