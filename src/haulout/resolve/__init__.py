"""Resolve: from (reference, architecture, disk type) to one disk, and the inventory of what a reference holds."""

from haulout.resolve.disk import ResolvedDisk, Shape
from haulout.resolve.find import container_image_error, resolve
from haulout.resolve.inventory import Inventory, Item, inventory
from haulout.resolve.query import DiskQuery, canonical_type
from haulout.resolve.recognise import Role

__all__ = [
    "DiskQuery",
    "Inventory",
    "Item",
    "ResolvedDisk",
    "Role",
    "Shape",
    "canonical_type",
    "container_image_error",
    "inventory",
    "resolve",
]
