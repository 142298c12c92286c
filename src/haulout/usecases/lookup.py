"""Look up what a reference means, without fetching: one disk, or all it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.oci import Architecture
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.resolve import DiskQuery, Inventory, Item, ResolvedDisk, is_tar_layer, looked_into
from haulout.resolve import inventory as list_all
from haulout.resolve import resolve as find
from haulout.usecases.arguments import architecture_of, reference_of, wanted_type_of

if TYPE_CHECKING:
    from haulout.disk import DiskType
    from haulout.oci import Reference
    from haulout.progress import Progress

_MOST_IMAGES: Final = 4
"""Container images of a reference that are looked into."""


def resolve(
    reference: str | Reference,
    *,
    architecture: str | Architecture | None = None,
    disk_type: str | DiskType | None = None,
    title: str | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> ResolvedDisk:
    """Find the one disk that is meant; arguments as for :func:`haulout.pull`.

    Only manifests are read, except for small container images, whose layers are searched for a disk.

    Raises:
        NotFoundError: there is no such reference, or no such disk in it.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    reference = reference_of(reference)
    query = DiskQuery(
        Architecture.here() if architecture is None else architecture_of(architecture),
        None if disk_type is None else wanted_type_of(disk_type),
        title,
    )
    with open_store(reference, connections or ConnectionOptions(), progress or NullProgress()) as store:
        found = find(store, reference, query)
        if found.container_disk:
            from haulout.fetch import require_disk_inside  # noqa: PLC0415 - rarely needed

            return require_disk_inside(store, found)
        return found


def inventory(
    reference: str | Reference, *, connections: ConnectionOptions | None = None, progress: Progress | None = None
) -> Inventory:
    """List what ``reference`` holds: disks, containers, and what is attached to them.

    Only manifests are read, except where there are container images alone: up to 64 MiB of each are searched for a
    disk, in all no more than of four.

    Raises:
        NotFoundError: there is no such reference.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    reference = reference_of(reference)
    with open_store(reference, connections or ConnectionOptions(), progress or NullProgress()) as store:
        held = list_all(store, reference)
        if held.shape != "container":
            return held
        from haulout.fetch import look_into  # noqa: PLC0415 - rarely needed

        left = _MOST_IMAGES

        def holds(item: Item) -> str:
            nonlocal left
            left -= 1
            layers = [layer for layer in item.layers if is_tar_layer(layer)]
            return look_into(store, layers).kind if left >= 0 else "unknown"

        return looked_into(held, holds)
