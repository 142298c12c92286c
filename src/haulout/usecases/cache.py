"""The cache: where it is, how large, and cleaning it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from haulout.documents import Document
from haulout.fetch import CacheFile, CacheReport, cache_report, clean_cache


@dataclass(frozen=True, slots=True)
class CachePruneResult(Document):
    """What went, or would go."""

    dry_run: bool
    removed: tuple[CacheFile, ...]

    json_members: ClassVar = ("dry_run", "removed", "freed")

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(each.size for each in self.removed)


def cache_info() -> CacheReport:
    """Say where the cache is, what it holds, and which partial files interrupted pulls left."""
    return cache_report()


def cache_prune(*, everything: bool = False, partials: bool = False, dry_run: bool = False) -> CachePruneResult:
    """Remove notes of files that are gone, and tables that no note names.

    Args:
        everything: all notes and tables: the next update of a disk fetches more.
        partials: partial files, too, unless a pull is writing them: the next pull begins anew.
        dry_run: whether to remove nothing.
    """
    return CachePruneResult(dry_run, clean_cache(everything=everything, partials=partials, dry_run=dry_run))
