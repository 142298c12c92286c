"""Make a machine of an export: with the same data, under the same or another name."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from haulout.documents import Document
from haulout.errors import HauloutError
from haulout.local import BESIDE, scratch_folder, storage_errors, sweep, sync_folder
from haulout.machine import (
    Accelerator,
    Export,
    Machine,
    Machines,
    appearing_machine,
    make_key,
    new_machine,
    require_room,
    restore,
)
from haulout.oci import Digest, RegistryReference
from haulout.places import Places
from haulout.progress import NullProgress, Traffic
from haulout.usecases.arguments import reference_of
from haulout.usecases.machine_export import DEFAULT_JOBS
from haulout.usecases.machine_init import make

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.machine import Head, Image, Place
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions


@dataclass(frozen=True, slots=True)
class ImportedMachine(Document):
    """A machine that was made of an export."""

    json_members: ClassVar = ("*machine", "folder", "source", "*traffic", "seconds")

    machine: Machine
    folder: Path
    source: Reference
    """The export by digest."""
    traffic: Traffic
    seconds: float


def machine_import(
    source: str | Reference,
    name: str | None = None,
    *,
    passphrase: bytes | None = None,
    ask: Callable[[], bytes] | None = None,
    jobs: int | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> ImportedMachine:
    """Make the machine that was exported, verified to the last byte.

    Args:
        source: the export.
        name: of the new machine; None: as it was called.
        passphrase: of an encrypted export.
        ask: asks for the passphrase of an encrypted export, if it is not given.
        jobs: chunks under way at a time; None: 4.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        ConflictError: there is a machine of this name, or data that was kept of one.
        WrongPassphrase: it is another one.
        StorageError: there is no room for it.
        ContentError: the export is damaged, or was changed by somebody without the passphrase.
        HauloutError: see the tree in :mod:`haulout.errors`; nothing is left of a machine that was not made.
    """
    begun = time.monotonic()
    reference, progress = reference_of(source), progress or NullProgress()
    machines = Machines.here()
    with Places(connections, progress) as places:
        store, root = places.open(reference), places.root(reference)
        export = Export.read(store, root, str(reference))
        if export.sealed is not None and passphrase is None and ask is not None:
            passphrase = ask()
        sealing = export.open(passphrase)
        head = export.document(store, sealing)
        old = head.machine.image
        place = machines.place(name or head.machine.name)
        with new_machine(place):
            _require_room(place, head)
            with storage_errors(place.folder, doing="cannot be written"), scratch_folder(place.folder, BESIDE) as fresh:
                fill = partial(restore, store, export, head, sealing, jobs=jobs or DEFAULT_JOBS, progress=progress)
                disk = reference.at(Digest.parse(old.digest))
                here = disk if export.has_disk(Digest.parse(old.digest)) else reference_of(old.pinned)
                made = make(
                    machines,
                    place,
                    _adapted(head.machine, place.name, machines, progress),
                    here,
                    connections,
                    progress,
                    keep=partial(_keep, fill if head.size else None, fresh / "data", old),
                )
        return ImportedMachine(
            made, place.folder, reference.at(root.descriptor.digest), places.traffic, time.monotonic() - begun
        )


def _require_room(place: Place, head: Head) -> None:
    """Require that there is room, before anything is fetched."""
    for folder in place.folder.parent.iterdir():
        # What imports that were killed have left.
        sweep(folder, BESIDE)
    require_room(place, head.content)


def _keep(fill: Callable[[int], None] | None, fresh: Path, old: Image, place: Place, made: Machine) -> Machine:
    """Bring the data aside; it appears with the machine file, by one rename."""
    if fill is not None:
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fill(fd)
            with storage_errors(fresh):
                os.fsync(fd)
        finally:
            os.close(fd)
    if isinstance(reference_of(old.pinned), RegistryReference):
        # Where it came from, and not where it was fetched this time, is where updates are.
        made = replace(made, image=replace(made.image, reference=old.reference, pinned=old.pinned))
    with appearing_machine(place, made):
        make_key(place)
        if fill is not None:
            fresh.rename(place.file("data.raw"))
            sync_folder(place.folder)
    return made


def _adapted(machine: Machine, name: str, machines: Machines, progress: Progress) -> Machine:
    """Return what the machine is to be on this host, which may lack what it had on the other."""
    there = set()
    for each in machines.all():
        with suppress(HauloutError):
            there.add(each.load().id)
    lost = [mount for mount in machine.mounts if not Path(mount.source).is_dir()]
    for mount in lost:
        progress.note(f"{mount.source} is not here: it is not mounted; see haulout machine set --mount")
    for mount in machine.mounts:
        if mount not in lost:
            # An export may be somebody else's.
            access = "can be read" if mount.read_only else "can be changed"
            progress.note(f"{mount.source} of this host {access} by machine {name}")
    authorities = [each for each in machine.ca if each == "host" or Path(each).exists()]
    for gone in set(machine.ca) - set(authorities):
        progress.note(f"{gone} is not here: its certificates are not trusted; see haulout machine set --ca")
    return replace(
        machine,
        name=name,
        id=str(uuid.uuid4()) if machine.id in there else machine.id,
        accelerator=Accelerator.AUTO,
        mounts=tuple(mount for mount in machine.mounts if mount not in lost),
        ca=tuple(authorities),
        # A backup of a machine that was to be thrown away is not.
        ephemeral=False,
    )
