"""The ground floor: files, locks, scratch space, programs and text of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.local.atomic import replace_file
    from haulout.local.home import home_of
    from haulout.local.locks import locked
    from haulout.local.oserrors import storage_errors
    from haulout.local.process import run_into, started
    from haulout.local.scratch import BESIDE, lasting_folder, nameless_file, private_folder, scratch_folder
    from haulout.local.tables import Table, read_text, read_toml
    from haulout.local.text import printable

__all__ = [
    "BESIDE",
    "Table",
    "home_of",
    "lasting_folder",
    "locked",
    "nameless_file",
    "printable",
    "private_folder",
    "read_text",
    "read_toml",
    "replace_file",
    "run_into",
    "scratch",
    "scratch_folder",
    "started",
    "storage_errors",
]

open_face(
    __name__,
    {
        "atomic": ("replace_file",),
        "home": ("home_of",),
        "locks": ("locked",),
        "oserrors": ("storage_errors",),
        "process": (
            "run_into",
            "started",
        ),
        "scratch": (
            "BESIDE",
            "lasting_folder",
            "nameless_file",
            "private_folder",
            "scratch_folder",
        ),
        "tables": (
            "Table",
            "read_text",
            "read_toml",
        ),
        "text": ("printable",),
    },
)
