"""Fetch a disk: survey what is here, plan (pure), run; by frames where there is a table of contents, else as a blob."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.fetch.background import BackgroundCall
    from haulout.fetch.containerdisk import look_into, require_disk_inside
    from haulout.fetch.deltas import load_index, offered
    from haulout.fetch.device import pull_to_device
    from haulout.fetch.disk import pull_disk
    from haulout.fetch.finding import OfferedDelta
    from haulout.fetch.results import Fetched, Moved, PullOptions, PullResult, SeedUse

__all__ = [
    "BackgroundCall",
    "Fetched",
    "Moved",
    "OfferedDelta",
    "PullOptions",
    "PullResult",
    "SeedUse",
    "load_index",
    "look_into",
    "offered",
    "pull_disk",
    "pull_to_device",
    "require_disk_inside",
]

open_face(
    __name__,
    {
        "background": ("BackgroundCall",),
        "containerdisk": ("look_into", "require_disk_inside"),
        "deltas": ("load_index", "offered"),
        "device": ("pull_to_device",),
        "disk": ("pull_disk",),
        "finding": ("OfferedDelta",),
        "results": ("Fetched", "Moved", "PullOptions", "PullResult", "SeedUse"),
    },
)
