"""A machine's data disk: a file, and after an update what was written since, apart, so that it can be given up.

``data.raw`` is what was there when the system of today took over. ``data-SLOT.qcow2``, named after that system, holds
what was written since. The machine file names the system, and with it the one of these files that counts: to
replace the machine file is to choose a system and its data in one step.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from haulout.disk import DiskFormat, commit_overlay, create_overlay, grow_overlay, overlay_size
from haulout.errors import ConflictError
from haulout.local import storage_errors, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from haulout.machine.model import Image, Machine
    from haulout.machine.store import Place

DATA: Final = "data.raw"
_GIB: Final = 1 << 30


def parts(place: Place) -> Iterator[Path]:
    """Yield the files of what was written since an update: one, or none, but for an update under way."""
    yield from sorted(place.folder.glob("data-*.qcow2"))


def grow(place: Place, machine: Machine) -> None:
    """Let the data disk have at least the size of the machine file; blank where there was none.

    Raises:
        StorageError: it cannot be written.
        ToolError: qemu-img is missing or failed.
    """
    data, since = place.file(DATA), place.data_since(machine.image)
    with storage_errors(place.folder, doing="cannot be written"):
        with data.open("ab") as disk:
            disk.truncate(size := max(machine.resources.disk * _GIB, data.stat().st_size))
        data.chmod(0o600)
    if since.exists() and overlay_size(since) < size:
        grow_overlay(since, data, DiskFormat.RAW, size)


def divide(place: Place, image: Image) -> None:
    """Let what is written from now on, by the system of an image, be apart.

    Raises:
        StorageError: it cannot be written.
        ToolError: qemu-img is missing or failed.
    """
    data = place.file(DATA)
    create_overlay(data, DiskFormat.RAW, place.data_since(image), data.stat().st_size)


def unite(place: Place, image: Image, advance: Callable[[float], None] = lambda _: None) -> bool:
    """Let the data disk be one file again, with what was written since; return whether it was not.

    A kill in the middle changes nothing of what the machine sees, and the next call ends it.

    Raises:
        StorageError: it cannot be written, as where there is no room.
        ToolError: qemu-img is missing or failed.
    """
    since = place.data_since(image)
    if not since.exists():
        return False
    commit_overlay(since, place.file(DATA), DiskFormat.RAW, advance)
    give_up(place, image)
    return True


def unite_kept(place: Place) -> None:
    """Let data that was kept of a machine that was removed be one file.

    Raises:
        ConflictError: nothing says which of its parts count.
        StorageError: it cannot be written, as where there is no room.
        ToolError: qemu-img is missing or failed.
    """
    found = list(parts(place))
    if len(found) > 1:
        raise ConflictError(
            f"there is data of two systems, of which one counts: {', '.join(map(str, found))}",
            hint="remove the one that was not kept, or all of them, for the data from before the update",
        )
    for part in found:
        commit_overlay(part, place.file(DATA), DiskFormat.RAW, lambda _: None)
        with storage_errors(part):
            part.unlink()


def keep_current(place: Place, image: Image) -> None:
    """Remove what was written by systems other than that of an image.

    Raises:
        StorageError: it cannot be removed.
    """
    for part in parts(place):
        if part != place.data_since(image):
            with storage_errors(part):
                part.unlink()


def give_up(place: Place, image: Image) -> None:
    """Give up what was written since the system of an image took over.

    Raises:
        StorageError: it cannot be removed.
    """
    with storage_errors(place.folder, doing="cannot be written"):
        with suppress(FileNotFoundError):
            place.data_since(image).unlink()
        sync_folder(place.folder)
