"""Publishing: disks and deltas into open stores, and the index behind a tag without losing another's entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.publish.annotations import AskedAnnotations
    from haulout.publish.base import StoredDisk
    from haulout.publish.containerdisk import container_disk_sources
    from haulout.publish.delta import AttachedDelta, DeltaEnd, DeltaMaker
    from haulout.publish.plan import InspectedDisk, PlannedDisk, inspect_disk, plan_disks, prepare
    from haulout.publish.push import PreparedDisk, PushOptions, push
    from haulout.publish.results import (
        DeltaResult,
        PublishedDelta,
        PushedBase,
        PushedContainerDisk,
        PushedDisk,
        PushResult,
    )
    from haulout.publish.sources import plain_disk

__all__ = [
    "AskedAnnotations",
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
    "PushedContainerDisk",
    "PushedDisk",
    "StoredDisk",
    "container_disk_sources",
    "inspect_disk",
    "plain_disk",
    "plan_disks",
    "prepare",
    "push",
]

open_face(
    __name__,
    {
        "annotations": ("AskedAnnotations",),
        "base": ("StoredDisk",),
        "containerdisk": ("container_disk_sources",),
        "delta": ("AttachedDelta", "DeltaEnd", "DeltaMaker"),
        "plan": ("InspectedDisk", "PlannedDisk", "inspect_disk", "plan_disks", "prepare"),
        "push": ("PreparedDisk", "PushOptions", "push"),
        "results": ("DeltaResult", "PublishedDelta", "PushResult", "PushedBase", "PushedContainerDisk", "PushedDisk"),
        "sources": ("plain_disk",),
    },
)
