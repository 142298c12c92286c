"""Backports: consumer branches of libraries, and which of them carry which fix. An island: git and files only.

Everything here takes folders with clones and returns values; :mod:`haulout.cli.backport` shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.backports.branch import BranchResult, branch
    from haulout.backports.fixes import Delivered, FixesResult, Release, fixes
    from haulout.backports.log import Line, LogResult, log
    from haulout.backports.model import Cell, Column, Commit, Matrix
    from haulout.backports.naming import Consumer
    from haulout.backports.pick import PickResult
    from haulout.backports.proposal import proposal
    from haulout.backports.resume import again
    from haulout.backports.status import Options, status
    from haulout.backports.verify import VerifyResult, split_consumer, verify

__all__ = [
    "BranchResult",
    "Cell",
    "Column",
    "Commit",
    "Consumer",
    "Delivered",
    "FixesResult",
    "Line",
    "LogResult",
    "Matrix",
    "Options",
    "PickResult",
    "Release",
    "VerifyResult",
    "again",
    "branch",
    "fixes",
    "log",
    "pick",
    "proposal",
    "report",
    "split_consumer",
    "status",
    "toml",
    "verify",
]

open_face(
    __name__,
    {
        "branch": ("BranchResult", "branch"),
        "fixes": ("Delivered", "FixesResult", "Release", "fixes"),
        "log": ("Line", "LogResult", "log"),
        "model": ("Cell", "Column", "Commit", "Matrix"),
        "naming": ("Consumer",),
        "pick": ("PickResult",),
        "proposal": ("proposal",),
        "resume": ("again",),
        "status": ("Options", "status"),
        "verify": ("VerifyResult", "split_consumer", "verify"),
    },
)
