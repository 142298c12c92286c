"""Upkeep: what a repository or layout holds, what goes when old versions go, and where a digest is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.upkeep.listing import ListedDisk, ListedTag, list_tags

__all__ = ["ListedDisk", "ListedTag", "list_tags"]

open_face(__name__, {"listing": ("ListedDisk", "ListedTag", "list_tags")})
