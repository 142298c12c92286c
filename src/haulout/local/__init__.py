"""The ground floor: files, locks, scratch space, programs and text of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.local.home import home_of
    from haulout.local.oserrors import storage_error
    from haulout.local.processors import processors
    from haulout.local.scratch import BESIDE, ScratchFile, scratch_folder

__all__ = [
    "BESIDE",
    "ScratchFile",
    "home_of",
    "processors",
    "scratch",
    "scratch_folder",
    "storage_error",
]

open_face(
    __name__,
    {
        "home": ("home_of",),
        "oserrors": ("storage_error",),
        "processors": ("processors",),
        "scratch": ("BESIDE", "ScratchFile", "scratch_folder"),
    },
)
