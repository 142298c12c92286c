"""Fetch a disk: survey what is here, plan (pure), run; by frames where there is a table of contents, else as a blob."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.fetch.background import BackgroundCall
    from haulout.fetch.containerdisk import look_into, require_disk_inside
    from haulout.fetch.deltas import load_index, offered
    from haulout.fetch.device import pull_to_device
    from haulout.fetch.disk import announced_format, pull_disk
    from haulout.fetch.finding import OfferedDelta
    from haulout.fetch.housekeeping import CacheFile, CacheFolderReport, CacheReport, cache_report, clean_cache
    from haulout.fetch.pulled import PulledFile, origin_of, pulled_files
    from haulout.fetch.results import Fetched, Moved, PullOptions, PullResult, SeedUse
    from haulout.fetch.target import look_at_partial, open_partial

__all__ = [
    "BackgroundCall",
    "CacheFile",
    "CacheFolderReport",
    "CacheReport",
    "Fetched",
    "Moved",
    "OfferedDelta",
    "PullOptions",
    "PullResult",
    "PulledFile",
    "SeedUse",
    "announced_format",
    "cache_report",
    "clean_cache",
    "load_index",
    "look_at_partial",
    "look_into",
    "offered",
    "open_partial",
    "origin_of",
    "pull_disk",
    "pull_to_device",
    "pulled_files",
    "require_disk_inside",
]

open_face(
    __name__,
    {
        "background": ("BackgroundCall",),
        "containerdisk": ("look_into", "require_disk_inside"),
        "deltas": ("load_index", "offered"),
        "device": ("pull_to_device",),
        "disk": ("announced_format", "pull_disk"),
        "finding": ("OfferedDelta",),
        "housekeeping": ("CacheFile", "CacheFolderReport", "CacheReport", "cache_report", "clean_cache"),
        "pulled": ("PulledFile", "origin_of", "pulled_files"),
        "results": ("Fetched", "Moved", "PullOptions", "PullResult", "SeedUse"),
        "target": ("look_at_partial", "open_partial"),
    },
)
