"""Upkeep: what a repository or layout holds, what goes when old versions go, and where a digest is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.upkeep.finding import Match, find_digest
    from haulout.upkeep.listing import ListedDisk, ListedTag, list_tags
    from haulout.upkeep.removal import Going, Removal, choose_versions, plan_removal
    from haulout.upkeep.removing import read_place, remove

__all__ = [
    "Going",
    "ListedDisk",
    "ListedTag",
    "Match",
    "Removal",
    "choose_versions",
    "find_digest",
    "list_tags",
    "plan_removal",
    "read_place",
    "remove",
]

open_face(
    __name__,
    {
        "finding": ("Match", "find_digest"),
        "listing": ("ListedDisk", "ListedTag", "list_tags"),
        "removal": ("Going", "Removal", "choose_versions", "plan_removal"),
        "removing": ("read_place", "remove"),
    },
)
