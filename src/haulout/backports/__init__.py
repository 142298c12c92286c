"""Backports: consumer branches of libraries, and which of them carry which fix. An island: git and files only.

Every verb takes the folder of a clone and returns a typed result; :mod:`haulout.cli.backport` prints it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.backports.branch import BranchResult, branch
    from haulout.backports.fixes import FixesResult, fixes
    from haulout.backports.ledger import find_ledger
    from haulout.backports.log import LogResult, log
    from haulout.backports.model import Column, Matrix, PickResult, Proposal, Stop
    from haulout.backports.objects import MissingObject
    from haulout.backports.pick import abort_pick, pick, resume_pick
    from haulout.backports.picks import FailedPick, PicksResult, picks
    from haulout.backports.status import status
    from haulout.backports.suggestions import resume_command
    from haulout.backports.verify import VerifyResult, verify

__all__ = [
    "BranchResult",
    "Column",
    "FailedPick",
    "FixesResult",
    "LogResult",
    "Matrix",
    "MissingObject",
    "PickResult",
    "PicksResult",
    "Proposal",
    "Stop",
    "VerifyResult",
    "abort_pick",
    "branch",
    "find_ledger",
    "fixes",
    "log",
    "pick",
    "picks",
    "resume_command",
    "resume_pick",
    "status",
    "verify",
]

open_face(
    __name__,
    {
        "branch": ("BranchResult", "branch"),
        "fixes": ("FixesResult", "fixes"),
        "ledger": ("find_ledger",),
        "log": ("LogResult", "log"),
        "model": ("Column", "Matrix", "PickResult", "Proposal", "Stop"),
        "objects": ("MissingObject",),
        "pick": ("abort_pick", "pick", "resume_pick"),
        "picks": ("FailedPick", "PicksResult", "picks"),
        "status": ("status",),
        "suggestions": ("resume_command",),
        "verify": ("VerifyResult", "verify"),
    },
)
