"""The ground floor: files, locks, scratch space, programs and text of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.local.atomic import replace_file
    from haulout.local.files import read_small
    from haulout.local.home import home_of
    from haulout.local.oserrors import storage_errors
    from haulout.local.scratch import BESIDE, scratch_folder
    from haulout.local.tables import Table, parse_toml

__all__ = [
    "BESIDE",
    "Table",
    "home_of",
    "parse_toml",
    "read_small",
    "replace_file",
    "scratch",
    "scratch_folder",
    "storage_errors",
]

open_face(
    __name__,
    {
        "atomic": ("replace_file",),
        "files": ("read_small",),
        "home": ("home_of",),
        "oserrors": ("storage_errors",),
        "scratch": ("BESIDE", "scratch_folder"),
        "tables": ("Table", "parse_toml"),
    },
)
