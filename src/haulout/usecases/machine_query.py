"""What machines there are, and how they are."""

from __future__ import annotations

import codecs
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.documents import Document
from haulout.errors import HauloutError
from haulout.machine import (
    Machines,
    State,
    boot,
    bytes_here,
    connection,
    derive,
    disk_waits_for,
    partial_base,
    read_journal,
    start_file,
    status,
    why_ended,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.machine import Disks, Journal, Machine, Place, Status

_POLL: Final = 0.2
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class SocketStatus(Document):
    """A socket of a machine on this host."""

    name: str
    path: Path
    connection: str
    """The name by which podman and docker know it."""
    answers: bool
    """Whether it leads into the guest at this moment."""


@dataclass(frozen=True, slots=True)
class MachineStatus(Document):
    """How a machine is at this moment."""

    name: str
    state: State
    ended: str | None
    """Why it does not run; None where it runs or never ran."""
    problem: str | None
    """What is wrong with its file; None: nothing."""
    waiting_for: str | None
    """What it waits for while it starts."""
    accelerator: str | None
    ssh_port: int | None
    """On the loopback address, while it runs."""
    folder: Path
    ssh_config: Path | None
    """``ssh -F FILE NAME`` reaches it while it runs."""
    sockets: tuple[SocketStatus, ...]
    machine: Machine | None
    """Its file; None where that is broken."""
    lost: tuple[str, ...] = ()
    """What it had when it started, as a mount, and has no more; a restart brings it back."""
    autostart: bool = False
    """Whether it starts when its user logs in."""
    disk_missing: int = 0
    """Bytes of its disk that are not here yet, about: a lazy start fetches what it reads, then the rest."""
    disk_waits_for: str | None = None
    """Why reads of its disk wait, as when the registry does not answer; None: none waits for long."""
    update: Journal | None = None
    """The journal of its updates; None: there was none, or it cannot be used."""
    update_problem: str | None = None
    """Why the journal of its updates cannot be used; the machine goes on as its file says."""


@dataclass(frozen=True, slots=True)
class MachineDisks(Document):
    """What a machine takes on this host."""

    name: str
    disks: Disks

    json_members = ("name", "*disks")


def machine_list() -> list[MachineStatus]:
    """Return all machines; one with a broken file is among them, and hinders no other.

    Raises:
        StorageError: the folder of machines cannot be read.
    """
    return [status_of(place) for place in Machines.here().all()]


def machine_inspect(name: str) -> MachineStatus:
    """Return how one machine is.

    Raises:
        NotFoundError: there is no such machine.
    """
    place = Machines.here().place(name)
    if not place.exists():
        place.load()
    return status_of(place)


def status_of(place: Place) -> MachineStatus:
    """Find out how a machine is: from its locks and its supervisor, not from what was written down."""
    machine, problem = None, None
    try:
        machine = place.load()
    except HauloutError as error:
        problem = error.message
    journal, unusable = None, None
    try:
        journal = read_journal(place)
    except HauloutError as error:
        unusable = error.message
    supervised, running = place.is_held("run.lock"), place.is_held("vm.lock")
    said: Status | None = status(place) if supervised else None
    state = derive(supervised=supervised, running=running, status=said)
    answering = said.sockets if said is not None and state in {State.RUNNING, State.DEGRADED} else ()
    return MachineStatus(
        name=place.name,
        state=state if machine is not None or supervised or running else State.BROKEN,
        ended=why_ended(place.last_event(), state, boot()),
        problem=problem,
        waiting_for=said.waiting_for or None if said else None,
        accelerator=said.accelerator or None if said else None,
        ssh_port=said.port or None if said else None,
        folder=place.folder,
        ssh_config=place.ssh_config if os.access(place.ssh_config, os.R_OK) else None,
        sockets=() if machine is None else _sockets(machine, place, answering),
        machine=machine,
        lost=said.lost if said is not None else (),
        autostart=start_file(place.name).enabled,
        disk_missing=0 if machine is None else _missing(place, machine),
        disk_waits_for=_waits_for(place, machine) if machine is not None and running else None,
        update=journal,
        update_problem=unusable,
    )


def _missing(place: Place, machine: Machine) -> int:
    base = place.base(machine)
    partial = partial_base(base)
    return 0 if partial is None else partial.data_bytes - bytes_here(base, partial)


def _waits_for(place: Place, machine: Machine) -> str | None:
    return disk_waits_for(place, machine) or None


def _sockets(machine: Machine, place: Place, answering: tuple[str, ...]) -> tuple[SocketStatus, ...]:
    return tuple(
        SocketStatus(each.name, place.socket(each.name), connection(machine, each.name), each.name in answering)
        for each in machine.sockets
    )


def machine_df() -> list[MachineDisks]:
    """Return what each machine takes on this host.

    Raises:
        StorageError: the folder of machines cannot be read.
    """
    from haulout.machine import disks  # noqa: PLC0415 - loads what reads disks, which list does not need

    return [MachineDisks(place.name, disks(place, status_of(place).machine)) for place in Machines.here().all()]


def machine_logs(name: str, *, follow: bool = False) -> Iterator[str]:
    """Yield what the guest wrote to its console since its last start, and with ``follow`` what it writes until it ends.

    Raises:
        NotFoundError: there is no such machine.
    """
    place = Machines.here().place(name)
    if not place.exists():
        place.load()
    path = place.file("console.log")
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    offset, start = 0, 0
    while True:
        running = follow and (place.is_held("run.lock") or place.is_held("vm.lock"))
        with suppress(FileNotFoundError), path.open("rb") as file:
            # Each start of the machine has a file of its own.
            number = os.fstat(file.fileno()).st_ino
            offset, start = (offset if number == start else 0), number
            file.seek(offset)
            while piece := file.read(_CHUNK):
                offset += len(piece)
                yield decode(piece)
        if not running:
            return
        time.sleep(_POLL)
