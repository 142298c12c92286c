"""Run a command in a machine made for it."""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from haulout.errors import ConflictError, HauloutError, NotFoundError
from haulout.machine import Machines
from haulout.usecases.machine_init import machine_init
from haulout.usecases.machine_lifecycle import hold, machine_ssh, machine_start
from haulout.usecases.machine_rm import machine_rm

if TYPE_CHECKING:
    from haulout.machine import Machine
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

_GONE_SECONDS: Final = 30.0
_ABANDONED_SECONDS: Final = 600.0


def run_machine(  # noqa: PLR0913 - each is one word of the request
    reference: str | Reference,
    command: tuple[str, ...] = (),
    *,
    name: str | None = None,
    ephemeral: bool = False,
    cpus: int | None = None,
    memory: int | None = None,
    user: str = "core",
    lazy: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> int:
    """Run a command, or a shell, in a machine made for it; return its exit code.

    Without ``ephemeral`` the machine stays, and the next run of the same name uses it again. With it, machine and data
    are gone afterwards, however this process ends.

    Args:
        reference: where the disk is.
        command: what to run; a shell where it is empty.
        name: of the machine; None: one made from the reference, and from this process for an ephemeral one.
        ephemeral: whether it is gone afterwards.
        cpus: processors.
        memory: MiB.
        user: of the guest.
        lazy: start before the disk is here.
        connections: how registries are reached.
        progress: told what is waited for.

    Raises:
        HauloutError: as :func:`machine_init` and :func:`machine_start`.
    """
    sweep_abandoned()
    name = name or _name_for(str(reference), ephemeral=ephemeral)
    place = Machines.here().place(name)
    if not place.exists():
        machine_init(
            name,
            reference,
            cpus=cpus,
            memory=memory,
            ephemeral=ephemeral,
            lazy=lazy,
            connections=connections,
            progress=progress,
        )
    elif ephemeral:
        raise ConflictError(f"there is a machine {name}", hint="choose another --name")
    else:
        _require_same(place.load(), str(reference), cpus, memory)
    with ExitStack() as stack:
        if ephemeral:
            stack.callback(_remove, name)
        machine_start(name, connect=not ephemeral, lazy=lazy, progress=progress)
        if ephemeral:
            stack.enter_context(hold(place))
        return machine_ssh(name, command, user=user)


def _require_same(machine: Machine, reference: str, cpus: int | None, memory: int | None) -> None:
    """Require that a machine that is there already is the one that is asked for."""
    if machine.image.reference != reference:
        raise ConflictError(
            f"there is a machine {machine.name}, made from {machine.image.reference}", hint="choose another --name"
        )
    has = machine.resources
    if (cpus or has.cpus, memory or has.memory) != (has.cpus, has.memory):
        raise ConflictError(
            f"there is a machine {machine.name}, with --cpus {has.cpus} and --memory {has.memory}",
            hint=f"choose another --name; or haulout machine set {machine.name}",
        )


def sweep_abandoned() -> None:
    """Remove the ephemeral machines of runs that were killed together with their supervisors; never fails."""
    for place in Machines.here().all():
        with suppress(HauloutError, OSError):
            # One that was made a moment ago has no supervisor yet.
            old = time.time() - place.file("machine.json").stat().st_mtime > _ABANDONED_SECONDS
            if old and place.load().ephemeral and not place.is_held("run.lock"):
                machine_rm(place.name, data=True, force=True)


def _name_for(reference: str, *, ephemeral: bool) -> str:
    words = (
        re.sub(r"[^a-z0-9]+", "-", reference.partition("@")[0].rpartition("/")[2].lower()).strip("-")[:20].strip("-")
    )
    if ephemeral:
        return f"{words or 'run'}-{os.getpid()}"
    return words if len(words) > 1 else f"run-{words}".rstrip("-")


def _remove(name: str) -> None:
    """Wait until its supervisor has removed a machine that nobody holds, or remove it."""
    place = Machines.here().place(name)
    deadline = time.monotonic() + _GONE_SECONDS
    while place.is_held("run.lock") and time.monotonic() < deadline:
        time.sleep(0.05)
    with suppress(NotFoundError):
        machine_rm(name, data=True, force=True)
