"""Remove a machine: what is deleted and what is kept is named."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.documents import Document
from haulout.errors import ConflictError, HauloutError
from haulout.local import storage_errors
from haulout.machine import (
    EventKind,
    Machines,
    forget,
    keep_current,
    parts,
    publish,
    remove,
    remove_unused_bases,
    start_file,
)
from haulout.usecases.machine_lifecycle import machine_stop

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RemovedMachine(Document):
    """A machine that is gone."""

    name: str
    removed: tuple[Path, ...]
    kept: tuple[Path, ...]
    """Its data disk, where it was kept: after an update it has two parts for a while."""


def machine_rm(name: str, *, data: bool = False, force: bool = False) -> RemovedMachine:
    """Remove a machine, and the base images that no machine needs any more.

    Args:
        name: of the machine; its file may be broken.
        data: remove its data, too; with it, data that was kept earlier can be removed.
        force: stop it, if it runs.

    Raises:
        ConflictError: it runs, or another command changes or updates it.
        NotFoundError: there is no such machine.
        StorageError: something cannot be removed.
    """
    machines = Machines.here()
    place = machines.place(name)
    with storage_errors(place.folder):
        if not place.exists() and not (data and place.file("data.raw").exists()):
            place.load()
    # An update that goes on would write its journal into the next machine of this name.
    with place.updating(), ExitStack() as locks:
        if force and place.exists():
            machine_stop(name)
        locks.enter_context(place.lock())
        if place.is_held("run.lock") or place.is_held("vm.lock"):
            raise ConflictError(f"machine {name} is running", hint=f"haulout machine stop {name}, or rm --force")
        identity = place.identity
        with suppress(HauloutError):
            # Which part of the data counts is told by the machine file, which goes.
            keep_current(place, place.load().image)
        forget(place)
        start_file(name).disable()
        removed = [*remove(place, data=data), *remove_unused_bases(machines)]
    publish(machines.history, name, identity, EventKind.REMOVED, kept_data=place.file("data.raw").exists())
    kept = tuple(path for path in (place.file("data.raw"), *parts(place)) if path.exists())
    return RemovedMachine(name, tuple(path for path in removed if path.name != "update.lock"), kept)
