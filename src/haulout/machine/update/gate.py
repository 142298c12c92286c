"""The gate: what an updated system has to prove before it is kept, compared with what there was before."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import begin
from haulout.machine.guest import scripts
from haulout.machine.store import tail
from haulout.machine.update import api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from haulout.machine.guest.link import Link
    from haulout.machine.model import Machine
    from haulout.machine.store import Place
    from haulout.machine.update.journal import Container

_POLL: Final = 2.0
_STARTS: Final = 4
_MOST_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Proof:
    """What was seen of a machine."""

    booted: bool = True
    sockets: frozenset[str] = frozenset()
    """Names of those that answer."""
    mounts: int = 0
    """How many are there."""
    running: Mapping[str, tuple[Container, ...]] = field(default_factory=dict)
    """Containers that run, by the name of the socket they are seen through."""
    podman: str = ""
    hook: str = ""
    """What a program of the user's that failed said; empty: none did."""


def failures(before: Proof, after: Proof) -> list[str]:
    """Return what a machine lacks that was there before, one line for each. Pure."""
    found = [] if after.booted else ["the guest did not finish booting"]
    found += [f"socket {name} does not answer" for name in sorted(before.sockets - after.sockets)]
    if after.mounts < before.mounts:
        found.append(f"{before.mounts - after.mounts} of its {before.mounts} mounts are not there")
    missing = missing_containers(before.running, after.running)
    if missing:
        names = [each.name or each.id[:12] for each in missing]
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        found.append(f"containers that ran before do not run: {', '.join(names[:_MOST_NAMED])}{more}")
    return [*found, *([after.hook] if after.hook else [])]


def missing_containers(
    before: Mapping[str, tuple[Container, ...]], after: Mapping[str, tuple[Container, ...]]
) -> list[Container]:
    """Return the containers that ran and do not run, each once. Pure."""
    return [
        each
        for name, containers in sorted(before.items())
        for each in containers
        if not any(each.is_same(other) for other in after.get(name, ()))
    ]


async def look(link: Link, machine: Machine, names: Iterable[str]) -> Proof:
    """See what there is, as far as it can be seen; what boots is waited for."""
    answering = [name for name in names if await api.answers(link.inner(name))]
    running, podman = {}, ""
    for name in answering:
        with suppress(OSError):
            running[name] = await api.containers(link.inner(name))
        podman = podman or await api.kind_of_data(link.inner(name))
    said = await link.run(scripts.state(machine), None)
    return Proof("booted" in said, frozenset(answering), said.count("mounted"), running, podman)


async def bring_back(link: Link, running: Mapping[str, tuple[Container, ...]], *, interrupted: bool = False) -> None:
    """Start the containers that ran before and do not run, as they were running; what fails is seen later.

    With ``interrupted``, also those that did not end, but went down with the guest.
    """
    found = dict(running)
    if interrupted:
        for name in link.sockets:
            with suppress(OSError):
                found[name] = (*found.get(name, ()), *await api.interrupted(link.inner(name)))
    for name, before in found.items():
        with suppress(OSError):
            there = await api.containers(link.inner(name))
            for each in before:
                with suppress(OSError):
                    # One that is slow to start may be there when it is looked at again.
                    if not any(each.is_same(other) for other in there):
                        await api.start(link.inner(name), each)


async def prove(link: Link, machine: Machine, place: Place, before: Proof, say: Callable[[str], None]) -> Proof:
    """Return what a machine that was updated has, once it has all that there was before, or is not going to."""
    say("waiting for what ran before")
    for attempt in range(_STARTS):
        found = await look(link, machine, before.sockets)
        if not failures(before, found):
            break
        if attempt + 1 < _STARTS:
            await bring_back(link, before.running)
            await asyncio.sleep(_POLL)
    if failures(before, found):
        return found
    for program in machine.update.hooks:
        say(f"asking {program}")
        if said := await _hook(program, place):
            return Proof(found.booted, found.sockets, found.mounts, found.running, found.podman, said)
    return found


async def _hook(program: str, place: Place) -> str:
    """Run a program of the user's, which may reach the machine by ssh; return why it failed, or ""."""
    told = {"HAULOUT_MACHINE": place.name, "HAULOUT_SSH_CONFIG": os.fspath(place.ssh_config)}
    sockets = {f"HAULOUT_SOCKET_{each.stem[3:].upper().replace('-', '_')}": os.fspath(each)
               for each in place.runtime.glob("to-*.sock")}  # fmt: skip
    log = place.file("hooks.log")
    try:
        with log.open("wb") as output:
            process = await begin([program], output=output, environment=os.environ | told | sockets)
    except ToolError as error:
        return f"{program} {error.reason}"
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            # It has a session of its own, which what it started shares.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    lines = tail(log, 4096).strip().splitlines()
    return f"{program} failed with exit code {code}" + (f": {lines[-1]}" if lines else "") if code else ""
