"""Publishing: what an earlier version contributes to a new one, and how a tag's index changes without a lost entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.publish.base import Bases, FoundBase
    from haulout.publish.index import entry_key, publish, read_index
    from haulout.publish.results import DeltaResult, PushedBase, PushedDisk, PushResult

__all__ = [
    "Bases",
    "DeltaResult",
    "FoundBase",
    "PushResult",
    "PushedBase",
    "PushedDisk",
    "entry_key",
    "publish",
    "read_index",
]

open_face(
    __name__,
    {
        "base": ("Bases", "FoundBase"),
        "index": ("entry_key", "publish", "read_index"),
        "results": ("DeltaResult", "PushResult", "PushedBase", "PushedDisk"),
    },
)
