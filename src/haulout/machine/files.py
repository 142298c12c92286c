"""A machine's disks: what they take, copies, and removal."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.disk import data_extents
from haulout.documents import Document
from haulout.errors import ConflictError, HauloutError, StorageError
from haulout.local import BESIDE, clone_range, locked, replace_file, scratch_folder, storage_errors, sync_folder
from haulout.machine.guest.seed import SEED_FILES
from haulout.machine.partial import base_name, bytes_here, is_kept, partial_base
from haulout.machine.update.data_disk import DATA, parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.machine.model import Image, Machine
    from haulout.machine.store import Machines, Place

COPYING: Final = "machine.json.new"
"""The machine file while disks are copied: what lies beside it is of no machine yet."""
_SYSTEMS: Final = ("system.qcow2", "slots/*.qcow2")
_CHUNK: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Disks(Document):
    """What a machine takes on its host, in bytes that are allocated."""

    system: int
    """Of all systems there are: after an update, the one before, too."""
    data: int
    data_size: int
    """What the guest sees of its data disk."""
    base: int
    """Of the base image, which other machines share."""


def disks(place: Place, machine: Machine | None) -> Disks:
    """Return what a machine takes; of a broken one, the base is not known."""
    data, size = [place.file(DATA), *parts(place)], 0
    with suppress(OSError):
        size = data[0].stat().st_size
    base = 0
    if machine is not None:
        path = place.base(machine)
        partial = partial_base(path)
        base = allocated(path) if partial is None else bytes_here(path, partial)
    systems = [path for pattern in _SYSTEMS for path in place.folder.glob(pattern)]
    return Disks(sum(map(allocated, systems)), sum(map(allocated, data)), size, base)


def allocated(path: Path) -> int:
    """Return the bytes a file takes on its disk; 0 where there is none."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def require_room(place: Place, needed: int) -> None:
    """Require that so many bytes are free where a machine is.

    Raises:
        StorageError: they are not.
    """
    with storage_errors(place.folder):
        room = os.statvfs(place.folder)
    if (free := room.f_bavail * room.f_frsize) < needed:
        reason = f"{needed} bytes are needed and {free} are free"
        raise StorageError(str(place.folder), reason, hint="make room, or set XDG_DATA_HOME")


def clone_files(source: Place, target: Place, image: Image) -> None:
    """Give another machine the disks of one that does not run; storage is shared where the file system can.

    Args:
        source: the machine.
        target: the other one.
        image: of the system it runs; what is there of another one stays behind.

    Raises:
        StorageError: they cannot be copied.
    """
    # The copy's system knows the key of its origin, and a guest learns its key at its first boot alone.
    named = [source.file(name) for name in ("key", "key.pub", *SEED_FILES, DATA)]
    for path in (source.system(image), source.variables(image), *named, source.data_since(image)):
        if path.exists():
            copy = target.folder / path.relative_to(source.folder)
            with storage_errors(copy, doing="cannot be written"):
                copy.parent.mkdir(exist_ok=True, mode=0o700)
                copy_sparse(path, copy)


@contextmanager
def new_machine(place: Place, *, keep_data: bool = False) -> Iterator[None]:
    """Hold a name that is free; where no machine is made in the block, nothing is left of the attempt.

    Args:
        place: where the machine will be. What a command that was killed has left there is removed.
        keep_data: whether the data that was kept of a machine of that name may be there, which stays.

    Raises:
        ConflictError: there is a machine of this name, or data that was kept of one.
        StorageError: the folder cannot be written.
    """
    with place.lock(new=True):
        if place.exists():
            hint = f"haulout machine rm {place.name} removes it, but its data; or choose another name"
            raise ConflictError(f"there is a machine {place.name}", hint=hint)
        clear(place)
        if not keep_data and place.file(DATA).exists():
            raise ConflictError(
                f"there is data that was kept of a machine {place.name}",
                hint=f"haulout machine rm {place.name} --data removes it; or choose another name",
            )
        try:
            yield
        except BaseException:
            if not place.exists():
                with suppress(HauloutError):
                    remove(place, data=False)
            raise


@contextmanager
def appearing_machine(place: Place, machine: Machine) -> Iterator[None]:
    """Give a place its machine file when the block ends well; until then, :func:`clear` removes all, even data.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors(place.folder, doing="cannot be written"):
        replace_file(place.file(COPYING), machine.to_json().encode(), mode=0o600)
    yield
    with storage_errors(place.folder, doing="cannot be written"):
        place.file(COPYING).rename(place.file("machine.json"))
        sync_folder(place.folder)


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

    A machine file that cannot be read may need any: then all are kept. So is, for some days, what was fetched while a
    machine ran from it: the next throw-away machine begins with it.
    """
    folder = machines.data / "images"
    try:
        with locked(folder, seconds=0, busy="a base image is being fetched"):
            kept = {base_name(path) for place in machines.all() for path in _bases(folder, place)}
            unused = [
                path
                for path in sorted(folder.iterdir())
                if not (path.is_dir() or base_name(path) in kept or is_kept(path, time.time()))
            ]
            for path in unused:
                path.unlink()
            return unused
    except (HauloutError, OSError):
        return []


def _bases(folder: Path, place: Place) -> Iterator[Path]:
    """Yield the base images that a machine needs: of its system, and of those it can go back or on to."""
    yield place.base(place.load())
    for slot in place.folder.glob("slots/*.qcow2"):
        yield from (path for path in folder.iterdir() if base_name(path).startswith(f"sha256-{slot.stem}"))


def clear(place: Place, *, data: bool = False) -> list[Path]:
    """Remove what a machine has, but its data unless ``data`` or it is half a copy; return what was removed.

    The machine file goes first, what marks half a copy last: a removal that is killed leaves no machine that looks
    whole, and can be done again.

    Raises:
        StorageError: something cannot be removed.
    """
    removed = []
    kept = {"lock", "run.lock", "vm.lock"}
    if not (data or place.file(COPYING).exists()):
        kept |= {DATA, *(path.name for path in parts(place))}
    with storage_errors(place.folder, doing="cannot be removed"):
        order = {"machine.json": 0, COPYING: 2}
        for path in sorted(place.folder.iterdir(), key=lambda path: (order.get(path.name, 1), path.name)):
            if path.name not in kept:
                with suppress(FileNotFoundError):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                    removed.append(path)
    return removed


def remove(place: Place, *, data: bool) -> list[Path]:
    """Remove a machine, but its data unless ``data``; return what was removed.

    Raises:
        StorageError: something cannot be removed.
    """
    removed = clear(place, data=data)
    with storage_errors(place.folder, doing="cannot be removed"):
        shutil.rmtree(place.runtime, ignore_errors=True)
        if data or not place.file(DATA).exists():
            shutil.rmtree(place.folder)
    return removed
