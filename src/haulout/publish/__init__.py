"""Publishing: disks and deltas into open stores, and the index behind a tag without losing another's entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.publish.base import StoredDisk
    from haulout.publish.delta import AttachedDelta, DeltaEnd, DeltaMaker
    from haulout.publish.plan import InspectedDisk, PlannedDisk, inspect_disk, plan_disks, prepare
    from haulout.publish.push import PreparedDisk, PushOptions, push
    from haulout.publish.results import DeltaResult, PublishedDelta, PushedBase, PushedDisk, PushResult
    from haulout.publish.sources import plain_disk

__all__ = [
    "AttachedDelta",
    "DeltaEnd",
    "DeltaMaker",
    "DeltaResult",
    "InspectedDisk",
    "PlannedDisk",
    "PreparedDisk",
    "PublishedDelta",
    "PushOptions",
    "PushResult",
    "PushedBase",
    "PushedDisk",
    "StoredDisk",
    "inspect_disk",
    "plain_disk",
    "plan_disks",
    "prepare",
    "push",
]

open_face(
    __name__,
    {
        "base": ("StoredDisk",),
        "delta": ("AttachedDelta", "DeltaEnd", "DeltaMaker"),
        "plan": ("InspectedDisk", "PlannedDisk", "inspect_disk", "plan_disks", "prepare"),
        "push": ("PreparedDisk", "PushOptions", "push"),
        "results": ("DeltaResult", "PublishedDelta", "PushResult", "PushedBase", "PushedDisk"),
        "sources": ("plain_disk",),
    },
)
