"""Whether a branch has the fault that a fix removes, by the record's ``introduced-in``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from haulout.backports.history import between
from haulout.backports.model import Content, Evidence, Patch
from haulout.backports.objects import MissingObject
from haulout.backports.patches import patch_of
from haulout.backports.trailers import same_commit, sources

if TYPE_CHECKING:
    from haulout.backports.probe import Prober
    from haulout.backports.records import Record
    from haulout.backports.repository import Branch, Repository


@dataclass(frozen=True, slots=True)
class Introduced:
    """The commits that introduced the fault, and the branches they are on. Without any, all branches are affected."""

    prober: Prober
    commits: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    on_refs: frozenset[str] = frozenset()
    patches: tuple[Patch, ...] = ()

    @classmethod
    def of(cls, repository: Repository, prober: Prober, record: Record | None) -> Self:
        """Find them."""
        names = record.introduced_in if record is not None else ()
        found: list[str] = []
        unknown: list[str] = []
        for name in names:
            oid = repository.find(name)
            (unknown if oid is None else found).append(oid or name)
        refs: set[str] = set()
        for oid in found:
            refs |= _containing(repository, oid)
            for pick in _picks(repository, oid):
                refs |= _containing(repository, pick)
        known = [patch_of(prober.objects, oid) for oid in found]
        return cls(
            prober, tuple(found), tuple(unknown), frozenset(refs), tuple(one for one in known if one is not None)
        )

    def on(self, branch: Branch) -> tuple[bool, Evidence | None]:
        """Whether a branch is affected, and the evidence for it."""
        if not self.commits:
            note = Evidence("introduced-in", f"{self.unknown[0][:12]} is not in this clone") if self.unknown else None
            return True, note
        if branch.ref in self.on_refs:
            return True, None
        try:
            tree = self.prober.objects.commit(branch.tip).tree
            tried = self.prober.try_all((tree, patch) for patch in self.patches)
        except MissingObject:
            return True, None
        if any(one.content is Content.SAME for one in tried.values()):
            return True, None
        short = ", ".join(oid[:12] for oid in self.commits)
        return False, Evidence("introduced-in", f"the branch lacks {short}, which introduced it", self.commits[0])


def _containing(repository: Repository, oid: str) -> set[str]:
    said = repository.git.text("for-each-ref", f"--contains={oid}", "--format=%(refname)", "refs/heads", "refs/remotes")
    return set(said.split("\n")) - {""}


def _picks(repository: Repository, oid: str) -> list[str]:
    """Return the commits on any branch that name a commit as their source."""
    found = between(repository, "--branches", "--remotes", f"^{oid}", "--fixed-strings", f"--grep={oid[:12]}")
    return [one.oid for one in found if any(same_commit(cited.oid, oid) for cited in sources(one.message))]
