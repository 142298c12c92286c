"""Record what a boot reads of its disk, and publish that."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from haulout.documents import Document
from haulout.errors import NotFoundError
from haulout.frames import hash_file
from haulout.lazy import Trace
from haulout.local import replace_file, storage_errors
from haulout.machine import USES, Machines, make_key, new_machine
from haulout.oci import annotations as keys
from haulout.oci import mediatype
from haulout.progress import NullProgress
from haulout.usecases.attach import attach
from haulout.usecases.machine_base import complete_base
from haulout.usecases.machine_lifecycle import machine_start
from haulout.usecases.machine_rm import machine_rm

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine import Machine, Place
    from haulout.oci import Digest
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_TRACE: Final = "boot.trace"


@dataclass(frozen=True, slots=True)
class RecordedBoot(Document):
    """What a boot reads of a disk."""

    name: str
    reference: str
    """The disk, by digest."""
    path: Path
    """The trace."""
    size: int
    """Bytes of the disk that are read."""
    ranges: int
    manifest: Digest | None
    """Of the trace, where it was attached to the disk."""


def machine_record(
    name: str,
    *,
    push: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> RecordedBoot:
    """Boot the disk of a machine in one that is gone afterwards, and write down which blocks are read, in order.

    Args:
        name: of the machine, which may run, and is left alone.
        push: attach the trace to the disk, where that came from.
        connections: how registries are reached.
        progress: told what is waited for.

    Raises:
        NotReady: the disk does not boot.
        HauloutError: the trace cannot be attached, or files cannot be written.
    """
    progress = progress or NullProgress()
    machines = Machines.here()
    place = machines.place(name)
    with place.lock():
        machine = place.load()
        complete_base(place, machine, progress)
    trace = _recorded(machines.place(f"record-{os.getpid()}"), machine, progress)
    path = place.file(_TRACE)
    with storage_errors(path, doing="cannot be written"):
        replace_file(path, trace.encode(), mode=0o600)
    manifest = None
    if push:
        manifest = attach(
            machine.image.pinned,
            path,
            artifact_type=mediatype.TRACE_ARTIFACT,
            media_type=mediatype.TRACE,
            annotations={keys.CREATED: datetime.now(UTC).isoformat(timespec="seconds")},
            connections=connections,
            progress=progress,
        ).manifest
    return RecordedBoot(name, machine.image.pinned, path, trace.size, len(trace.ranges), manifest)


def _recorded(place: Place, machine: Machine, progress: Progress) -> Trace:
    made = replace(machine, name=place.name, id=str(uuid.uuid4()), ephemeral=True, mounts=(), forwards=())
    with new_machine(place):
        make_key(place)
        replace_file(place.file(USES), b"", durable=False)
        place.save(made)
    try:
        machine_start(place.name, connect=False, progress=progress)
        uses = place.file(USES).read_bytes()
        with place.base(machine).open("rb") as disk:
            size = os.fstat(disk.fileno()).st_size
            with progress.task("hashing the disk", size) as task:
                return Trace.of_uses(hash_file(disk.fileno(), task), uses)
    finally:
        # Its supervisor may have done it.
        with suppress(NotFoundError):
            machine_rm(place.name, data=True, force=True)
