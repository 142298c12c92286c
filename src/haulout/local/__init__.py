"""The ground floor: files, locks, scratch space, programs and text of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.local.atomic import sync_folder
    from haulout.local.files import descriptor_name
    from haulout.local.home import home_of
    from haulout.local.locks import hold, hold_record
    from haulout.local.oserrors import storage_error, storage_errors
    from haulout.local.process import PIPE, STDOUT, chunks, last_line, started, wait
    from haulout.local.scratch import BESIDE, scratch_folder
    from haulout.local.sharing import clone_range, snapshot

__all__ = [
    "BESIDE",
    "PIPE",
    "STDOUT",
    "chunks",
    "clone_range",
    "descriptor_name",
    "hold",
    "hold_record",
    "home_of",
    "last_line",
    "scratch_folder",
    "snapshot",
    "started",
    "storage_error",
    "storage_errors",
    "sync_folder",
    "wait",
]

open_face(
    __name__,
    {
        "atomic": ("sync_folder",),
        "files": ("descriptor_name",),
        "home": ("home_of",),
        "locks": ("hold", "hold_record"),
        "oserrors": ("storage_error", "storage_errors"),
        "process": ("PIPE", "STDOUT", "chunks", "last_line", "started", "wait"),
        "scratch": ("BESIDE", "scratch_folder"),
        "sharing": ("clone_range", "snapshot"),
    },
)
