"""Fetching: how a disk comes into its partial file, by frames where it has a table of contents, else as a blob."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.fetch.background import Aside
    from haulout.fetch.containerdisk import require_disk_inside
    from haulout.fetch.deltas import OfferedDelta, load_index, offered
    from haulout.fetch.disk import DiskPull, Wishes
    from haulout.fetch.results import Moved, PullResult, SeedUse
    from haulout.fetch.target import storage_errors, workplace

__all__ = [
    "Aside",
    "DiskPull",
    "Moved",
    "OfferedDelta",
    "PullResult",
    "SeedUse",
    "Wishes",
    "load_index",
    "offered",
    "require_disk_inside",
    "storage_errors",
    "workplace",
]

open_face(
    __name__,
    {
        "background": ("Aside",),
        "containerdisk": ("require_disk_inside",),
        "deltas": ("OfferedDelta", "load_index", "offered"),
        "disk": ("DiskPull", "Wishes"),
        "results": ("Moved", "PullResult", "SeedUse"),
        "target": ("storage_errors", "workplace"),
    },
)
