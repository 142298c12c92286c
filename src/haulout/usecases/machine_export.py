"""Export a machine: its file and its data, to where a later export sends only what changed."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.content import CopyOptions, copy
from haulout.documents import Document
from haulout.errors import ConflictError, NotFoundError, UsageError
from haulout.local import BESIDE, open_regular, scratch_folder, storage_errors, sweep
from haulout.machine import Export, Machines, Sealing, Writer, copy_data, disks, require_room, rest
from haulout.oci import RegistryReference
from haulout.places import Places
from haulout.progress import NullProgress, Traffic
from haulout.usecases.arguments import reference_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.content import CopyTarget
    from haulout.machine import Machine, Place
    from haulout.oci import Descriptor, Digest, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

DEFAULT_JOBS: Final = 4


@dataclass(frozen=True, slots=True)
class ExportedMachine(Document):
    """A machine that was exported."""

    json_members: ClassVar = (
        *("name", "destination", "pinned", "encrypted", "with_image", "data_size", "data_content", "chunks"),
        *("sent_chunks", "sent_bytes", "left_behind", "*traffic", "seconds"),
    )

    name: str
    destination: Reference
    pinned: Reference
    """The export by digest."""
    encrypted: bool
    with_image: bool
    """Whether the disk of its system came along."""
    data_size: int
    """Bytes that the guest sees of its data disk."""
    data_content: int
    """Bytes of it that hold data, in whole chunks."""
    chunks: int
    sent_chunks: int
    """Of these, those that the destination did not have."""
    sent_bytes: int
    """Bytes of them, compressed."""
    left_behind: int
    """Bytes that the system changed of itself: they do not travel."""
    traffic: Traffic
    seconds: float


def machine_export(
    name: str,
    destination: str | Reference,
    *,
    passphrase: bytes | None = None,
    image: bool = False,
    jobs: int | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> ExportedMachine:
    """Export a machine. Its system travels by reference, its data disk as chunks.

    Of a machine that runs, a copy of the data disk is sent, as the disk is in one moment; there must be room for it.

    Where the destination has an earlier export of it, only chunks that changed are sent.

    Args:
        name: of the machine.
        destination: a registry reference, a layout or an archive, with a tag.
        passphrase: encrypts the machine file and the data; an export over an encrypted one needs the same.
        image: whether the disk of the system comes along. It always does if that is not in a registry.
        jobs: chunks under way at a time; None: 4.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        ConflictError: the destination has an export of another machine, or another command changes this one.
        StorageError: there is no room for a copy.
        NotFoundError: there is no such machine.
        WrongPassphrase: the earlier export is encrypted with another passphrase.
        HauloutError: see the tree in :mod:`haulout.errors`; an earlier export is as it was.
    """
    begun = time.monotonic()
    reference, progress = _target(reference_of(destination)), progress or NullProgress()
    place = Machines.here().place(name)
    with ExitStack() as stack:
        places, lock = stack.enter_context(Places(connections, progress)), stack.enter_context(ExitStack())
        lock.enter_context(place.lock())
        machine, data = place.load(), place.file("data.raw")
        running = place.is_held("run.lock")
        if place.is_held("vm.lock") and not running:
            raise ConflictError(f"machine {name} is unattended", hint=f"haulout machine start {name} takes it over")
        sealing, known = _before(places, reference, machine, passphrase)
        if not running:
            rest(place, progress.note)
        opened = _copy(place, data, progress) if running else open_regular(data) if data.exists() else nullcontext()
        fd = stack.enter_context(opened)
        if running:
            # The machine may be stopped, changed and removed while its copy is sent.
            lock.close()
        with places.copy_target(reference) as target:
            disk = _disk(places, machine, target, progress, jobs or DEFAULT_JOBS) if _takes(machine, image) else None
            done = Writer(target, sealing, known, jobs or DEFAULT_JOBS, progress).write(
                machine, fd, disk, reference.tag
            )
        return ExportedMachine(
            name,
            reference,
            reference.at(done.root.digest),
            sealing is not None,
            disk is not None,
            done.head.size,
            done.head.content,
            done.chunks,
            done.sent_chunks,
            done.sent_bytes,
            disks(place, None).system,
            places.traffic,
            time.monotonic() - begun,
        )


@contextmanager
def _copy(place: Place, data: Path, progress: Progress) -> Iterator[int]:
    """Yield a copy of the data disk of a machine that runs, which has no name any more."""
    size, content = data.stat().st_size, disks(place, None).data
    sweep(place.folder, BESIDE)
    require_room(place, content)
    with ExitStack() as stack:
        with storage_errors(place.folder, doing="cannot be written"), scratch_folder(place.folder, BESIDE) as scratch:
            target = scratch / "data"
            target.touch(mode=0o600)
            os.truncate(target, size)
            with progress.task(f"copy of the data of {place.name}", size) as task:
                copy_data(place, target, task.advance)
            fd = stack.enter_context(open_regular(target))
        yield fd


def _target(reference: Reference) -> Reference:
    if reference.digest is not None:
        raise UsageError(f"cannot export to {reference}: a digest names existing content", hint="name a tag")
    return reference if reference.tag is not None else reference.with_tag("latest")


def _before(
    places: Places, reference: Reference, machine: Machine, passphrase: bytes | None
) -> tuple[Sealing | None, frozenset[Digest]]:
    """Return the key, which an earlier export under the tag has begun, and what it has there."""
    try:
        store = places.open(reference)
        root = places.root(reference)
    except NotFoundError:
        return (None if passphrase is None else Sealing.begin(passphrase)), frozenset()
    before = Export.read(store, root, str(reference))
    if before.sealed is None and passphrase is not None:
        raise ConflictError(f"{reference} is not encrypted", hint="export to another tag, and delete this one")
    sealing = before.open(passphrase)
    with suppress(NotFoundError):  # Lost there: nobody can restore that export.
        if (other := before.document(store, sealing).machine).id != machine.id:
            raise ConflictError(f"{reference} is an export of another machine, {other.name}", hint="name another tag")
    if not isinstance(reference, RegistryReference):
        # An archive is written anew; a layout tells at no cost what it has, also of an export that is damaged.
        return sealing, frozenset()
    # Segments are sent again: that is when a registry tells that it has lost a chunk.
    known: set[Digest] = set()
    for each in before.segments():
        with suppress(NotFoundError):
            known |= {blob.digest for blob in before.chunks(store, each)}
    return sealing, frozenset(known)


def _takes(machine: Machine, image: bool) -> bool:  # noqa: FBT001 - what the user said
    return image or not isinstance(reference_of(machine.image.pinned), RegistryReference)


def _disk(places: Places, machine: Machine, target: CopyTarget, progress: Progress, jobs: int) -> Descriptor:
    source = reference_of(machine.image.pinned)
    try:
        store = places.open(source)
        return copy(
            store, source.selector, target, None, CopyOptions(referrers=False, jobs=jobs), progress=progress
        ).root
    except NotFoundError as exc:
        raise NotFoundError(
            f"the disk of the system of {machine.name} is not in {source.name} any more: {exc}",
            hint=f"bring it back, or push it to a registry, and make {machine.name} from there: its data is kept",
        ) from exc
