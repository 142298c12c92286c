"""The ground floor: files, locks, scratch space, programs and text of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.local.files import open_regular
    from haulout.local.home import home_of
    from haulout.local.oserrors import storage_errors
    from haulout.local.processors import processors
    from haulout.local.scratch import BESIDE, ScratchFile, large_folder, scratch_folder

__all__ = [
    "BESIDE",
    "ScratchFile",
    "home_of",
    "large_folder",
    "open_regular",
    "processors",
    "scratch",
    "scratch_folder",
    "storage_errors",
]

open_face(
    __name__,
    {
        "files": ("open_regular",),
        "home": ("home_of",),
        "oserrors": ("storage_errors",),
        "processors": ("processors",),
        "scratch": ("BESIDE", "ScratchFile", "large_folder", "scratch_folder"),
    },
)
