"""The ground floor: files, locks, scratch space, programs and text of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.local.atomic import PRIVATE, replacing
    from haulout.local.home import home_of
    from haulout.local.locks import locked
    from haulout.local.oserrors import storage_error, storage_errors
    from haulout.local.process import Finished, run
    from haulout.local.scratch import BESIDE, ScratchFile, scratch_folder
    from haulout.local.tables import Table, parse_toml, wrong_file
    from haulout.local.text import printable

__all__ = [
    "BESIDE",
    "PRIVATE",
    "Finished",
    "ScratchFile",
    "Table",
    "home_of",
    "locked",
    "parse_toml",
    "printable",
    "replacing",
    "run",
    "scratch",
    "scratch_folder",
    "storage_error",
    "storage_errors",
    "wrong_file",
]

open_face(
    __name__,
    {
        "atomic": ("PRIVATE", "replacing"),
        "home": ("home_of",),
        "locks": ("locked",),
        "oserrors": ("storage_error", "storage_errors"),
        "process": ("Finished", "run"),
        "scratch": ("BESIDE", "ScratchFile", "scratch_folder"),
        "tables": ("Table", "parse_toml", "wrong_file"),
        "text": ("printable",),
    },
)
