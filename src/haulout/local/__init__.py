"""The ground floor: files, locks, scratch space, programs and text of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.local.atomic import appearing, replace_file
    from haulout.local.files import read_head
    from haulout.local.home import home_of
    from haulout.local.oserrors import storage_error, storage_errors
    from haulout.local.process import run
    from haulout.local.scratch import BESIDE, ScratchFile, scratch_folder

__all__ = [
    "BESIDE",
    "ScratchFile",
    "appearing",
    "home_of",
    "read_head",
    "replace_file",
    "run",
    "scratch",
    "scratch_folder",
    "storage_error",
    "storage_errors",
]

open_face(
    __name__,
    {
        "atomic": ("appearing", "replace_file"),
        "files": ("read_head",),
        "home": ("home_of",),
        "oserrors": ("storage_error", "storage_errors"),
        "process": ("run",),
        "scratch": ("BESIDE", "ScratchFile", "scratch_folder"),
    },
)
