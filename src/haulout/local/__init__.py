"""The ground floor: files, locks, scratch space, programs and text of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.local.home import home_of
    from haulout.local.scratch import BESIDE, scratch_folder

__all__ = [
    "BESIDE",
    "home_of",
    "scratch",
    "scratch_folder",
]

open_face(
    __name__,
    {
        "home": ("home_of",),
        "scratch": ("BESIDE", "scratch_folder"),
    },
)
