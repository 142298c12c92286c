"""A machine's disks: what they take, copies, and removal."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.disk import data_extents
from haulout.documents import Document
from haulout.errors import HauloutError
from haulout.local import BESIDE, clone_range, locked, scratch_folder, storage_errors, sync_folder
from haulout.machine.base import note_of

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine.model import Machine
    from haulout.machine.store import Machines, Place

DATA: Final = "data.raw"
_SYSTEM: Final = ("system.qcow2", "firmware.vars")
_CHUNK: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Disks(Document):
    """What a machine takes on its host, in bytes that are allocated."""

    system: int
    data: int
    data_size: int
    """What the guest sees of its data disk."""
    base: int
    """Of the base image, which other machines share."""


def disks(place: Place, machine: Machine | None) -> Disks:
    """Return what a machine takes; of a broken one, the base is not known."""
    data = place.file(DATA)
    size = data.stat().st_size if data.exists() else 0
    base = allocated(place.base(machine)) if machine is not None else 0
    return Disks(allocated(place.file(_SYSTEM[0])), allocated(data), size, base)


def allocated(path: Path) -> int:
    """Return the bytes a file takes on its disk; 0 where there is none."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def clone_files(source: Place, target: Place) -> None:
    """Give another machine the disks of one that does not run; storage is shared where the file system can.

    Raises:
        StorageError: they cannot be copied.
    """
    for name in (*_SYSTEM, DATA):
        if source.file(name).exists():
            with storage_errors(target.file(name), doing="cannot be written"):
                copy_sparse(source.file(name), target.file(name))


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file with its holes; it appears in one step.

    Raises:
        OSError: the file system refuses.
    """
    with scratch_folder(target.parent, BESIDE) as place, source.open("rb") as old, (place / "copy").open("wb") as new:
        size = os.fstat(old.fileno()).st_size
        os.fchmod(new.fileno(), 0o600)
        os.ftruncate(new.fileno(), size)
        try:
            clone_range(old.fileno(), 0, size, new.fileno(), 0)
        except OSError:
            for extent in list(data_extents(old.fileno(), size)):
                at = extent.offset
                while piece := os.pread(old.fileno(), min(_CHUNK, extent.end - at), at):
                    at += os.pwrite(new.fileno(), piece, at)
        os.fsync(new.fileno())
        (place / "copy").rename(target)
    sync_folder(target.parent)


def remove_unused_bases(machines: Machines) -> list[Path]:
    """Remove the base images that no machine needs, and return them; none while one is being fetched.

    A machine file that cannot be read may need any: then all are kept.
    """
    folder = machines.data / "images"
    try:
        with locked(folder, seconds=0, busy="a base image is being fetched"):
            needed = {place.base(place.load()) for place in machines.all()}
            needed |= {note_of(base) for base in needed}
            unused = [path for path in sorted(folder.iterdir()) if path not in needed]
            for path in unused:
                path.unlink()
            return unused
    except (HauloutError, OSError):
        return []


def remove(place: Place, *, data: bool) -> list[Path]:
    """Remove a machine, but its data unless ``data``; return what was removed.

    The machine file goes first: a removal that is killed leaves no machine that looks whole.

    Raises:
        StorageError: something cannot be removed.
    """
    removed = []
    with storage_errors(place.folder, doing="cannot be removed"):
        paths = sorted(place.folder.iterdir(), key=lambda path: (path.name != "machine.json", path.name))
        for path in paths:
            if path.name in {"lock", "run.lock", "vm.lock"} or (path.name == DATA and not data):
                continue
            with suppress(FileNotFoundError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                removed.append(path)
        shutil.rmtree(place.runtime, ignore_errors=True)
        if data or not place.file(DATA).exists():
            shutil.rmtree(place.folder)
    return removed
