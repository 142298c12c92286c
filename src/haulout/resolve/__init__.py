"""Resolve: from (reference, architecture, disk type) to one disk, and the inventory of what a reference holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.resolve.attached import MAX_DEPTH, Attached, Subject, subjects
    from haulout.resolve.choose import spelled
    from haulout.resolve.disk import ResolvedDisk, Shape
    from haulout.resolve.find import confidential_workload_error, container_image_error, resolve
    from haulout.resolve.inventory import Inventory, Item, inventory, looked_into
    from haulout.resolve.names import base_name, file_name, is_plain_name, title_for
    from haulout.resolve.query import CONTAINER_DISK, DiskQuery, canonical_type
    from haulout.resolve.recognise import Role, classify, is_tar_layer, look_inside
    from haulout.resolve.selection import Selection, candidates, selection
    from haulout.resolve.toc import load_toc
    from haulout.resolve.versions import earlier_tags, is_version, newest_first, series

__all__ = [
    "CONTAINER_DISK",
    "MAX_DEPTH",
    "Attached",
    "DiskQuery",
    "Inventory",
    "Item",
    "ResolvedDisk",
    "Role",
    "Selection",
    "Shape",
    "Subject",
    "base_name",
    "candidates",
    "canonical_type",
    "classify",
    "confidential_workload_error",
    "container_image_error",
    "earlier_tags",
    "file_name",
    "inventory",
    "is_plain_name",
    "is_tar_layer",
    "is_version",
    "load_toc",
    "look_inside",
    "looked_into",
    "newest_first",
    "resolve",
    "selection",
    "series",
    "spelled",
    "subjects",
    "title_for",
]

open_face(
    __name__,
    {
        "attached": ("MAX_DEPTH", "Attached", "Subject", "subjects"),
        "choose": ("spelled",),
        "disk": ("ResolvedDisk", "Shape"),
        "find": ("confidential_workload_error", "container_image_error", "resolve"),
        "inventory": ("Inventory", "Item", "inventory", "looked_into"),
        "names": ("base_name", "file_name", "is_plain_name", "title_for"),
        "query": ("CONTAINER_DISK", "DiskQuery", "canonical_type"),
        "recognise": ("Role", "classify", "is_tar_layer", "look_inside"),
        "selection": ("Selection", "candidates", "selection"),
        "toc": ("load_toc",),
        "versions": ("earlier_tags", "is_version", "newest_first", "series"),
    },
)
