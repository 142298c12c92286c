"""Start and stop machines, and run one for a command."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout.documents import Document
from haulout.errors import ConflictError, HauloutError, NotReady, UsageError
from haulout.local import attached
from haulout.machine import (
    HINT,
    Machines,
    State,
    Step,
    client,
    command_line,
    follow,
    forward_ports,
    read_authorities,
    read_journal,
    register,
    start_supervisor,
    status,
)
from haulout.progress import NullProgress
from haulout.usecases.machine_base import complete_base
from haulout.usecases.machine_query import MachineStatus, machine_inspect, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.machine import Machine, Place, Switch
    from haulout.progress import Progress

    Request = dict[str, str | float | dict[str, str] | None]

STOP_SECONDS: Final = 90.0
_GONE_SECONDS: Final = 15.0
_POLL: Final = 0.2


@dataclass(frozen=True, slots=True)
class StoppedMachine(Document):
    """A machine that does not run any more."""

    name: str
    was_running: bool
    reason: str
    """Why it ended."""


def machine_start(
    name: str,
    *,
    seconds: float | None = None,
    connect: bool = True,
    lazy: bool = False,
    progress: Progress | None = None,
) -> MachineStatus:
    """Start a machine, and return when ssh and its sockets answer; one that runs is left alone.

    What is missing of its disk is fetched first, unless ``lazy``.

    Args:
        name: of the machine.
        seconds: the longest wait for ssh; None: 300.
        connect: whether podman and docker, where they are installed, are told of its sockets.
        lazy: fetch what is missing of its disk while it boots and runs.
        progress: told what is waited for, and on failure the last lines of the console.

    Raises:
        NotReady: it does not become ready; it does not run then.
        NotFoundError: there is no such machine.
        ToolError: QEMU or another program is missing.
    """
    progress = progress or NullProgress()
    place = Machines.here().place(name)
    wait_while_stopping(place, progress)
    with place.lock():
        machine = place.load()
        place.prepare_runtime(machine)
        if not place.is_held("run.lock"):
            if not lazy:
                complete_base(place, _coming(place, machine), progress)
            start_supervisor(place)
    if connect and not machine.ephemeral:
        # While it boots: the sockets are there.
        for line in register(machine, place):
            progress.note(line)
    _follow(place, {"do": "follow", "seconds": seconds}, progress)
    found = machine_inspect(name)
    if found.state not in {State.RUNNING, State.DEGRADED}:
        raise NotReady(name, found.ended or f"it is {found.state}", place.console())
    return found


def _coming(place: Place, machine: Machine) -> Machine:
    """Return a machine as it starts next: with the system that an update is about to try, if there is one."""
    with suppress(HauloutError):
        journal = read_journal(place)
        if journal is not None and journal.step is Step.DUE:
            return replace(machine, image=journal.new)
    return machine


def wait_while_stopping(place: Place, progress: Progress) -> None:
    """Let a stop end that is under way, and the supervisor with it; it has its own bounds."""
    told = False
    while status_of(place).state is State.STOPPING:
        if not told:
            progress.note(f"{place.name}: waiting for it to stop")
        told = True
        time.sleep(_POLL)


def _follow(place: Place, request: Request, progress: Progress) -> None:
    try:
        _wait(place, request, progress)
    except NotReady as error:
        for line in error.console:
            progress.note(f"console: {line}")
        wait_for_supervisor(place)
        raise


def _wait(place: Place, request: Request, progress: Progress) -> None:
    # Without a name it is not shown: it is there to be cancelled.
    with progress.task("", None) as task:
        follow(place, request, lambda what: progress.note(f"{place.name}: {what}"), lambda: task.advance(0))


def wait_for_supervisor(place: Place) -> None:
    """Wait until a supervisor that is about to end has ended."""
    deadline = time.monotonic() + _GONE_SECONDS
    while place.is_held("run.lock") and time.monotonic() < deadline:
        time.sleep(0.02)


def machine_stop(name: str, *, seconds: float = STOP_SECONDS, progress: Progress | None = None) -> StoppedMachine:
    """Stop a machine within bounds: its power button, then the plug, then SIGKILL.

    Args:
        name: of the machine; its file may be broken.
        seconds: that the guest has to shut down.
        progress: told what is waited for.

    Raises:
        NotFoundError: there is no such machine.
        ToolError: it goes on in spite of all.
    """
    progress = progress or NullProgress()
    machines = Machines.here()
    place = machines.place(name)
    if not place.exists():
        place.load()
    if not (place.is_held("run.lock") or place.is_held("vm.lock")):
        return StoppedMachine(name, was_running=False, reason=status_of(place).ended or "it did not run")
    try:
        if status(place) is None:
            raise NotReady(name, "its supervisor does not answer", [])  # noqa: TRY301 - as when it does not any more
        _wait(place, {"do": "stop", "seconds": seconds}, progress)
        if place.is_held("vm.lock") and not place.is_held("run.lock"):
            raise NotReady(name, "its supervisor ended", [])  # noqa: TRY301 - before it had taken the machine over
    except NotReady:
        # There is no supervisor, or it hangs.
        from haulout.machine import force_off  # noqa: PLC0415 - loads all of QEMU, which a start waits for
        from haulout.machine.qemu import Qemu  # noqa: PLC0415

        force_off(place, Qemu(machines.cache / "accelerator.json"), seconds)
    wait_for_supervisor(place)
    last = place.last_event()
    return StoppedMachine(name, was_running=True, reason=last.detail if last is not None else "")


def machine_restart(name: str, *, seconds: float = STOP_SECONDS, progress: Progress | None = None) -> MachineStatus:
    """Stop a machine and start it again; clients of its sockets wait meanwhile. One that does not run is started.

    Raises:
        NotReady: it does not become ready.
        NotFoundError: there is no such machine.
        HauloutError: it could not start again, as where a mount is gone or a port taken; then it was not stopped.
    """
    progress = progress or NullProgress()
    machines = Machines.here()
    place = machines.place(name)
    machine = place.load()
    if place.is_held("run.lock") or place.is_held("vm.lock"):
        # One that could not start again is left running.
        from haulout.machine.qemu import Qemu  # noqa: PLC0415 - loads all of QEMU, which a start waits for

        read_authorities(machine.ca)
        Qemu(machines.cache / "accelerator.json").check(machine, place)
        forward_ports(place)
    if not place.is_held("run.lock"):
        if place.is_held("vm.lock"):
            # Its supervisor was killed: a start alone would take it over as it is.
            machine_stop(name, seconds=seconds, progress=progress)
        return machine_start(name, progress=progress)
    # The proxies are those of now, not those of its first start.
    proxies = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
    _follow(place, {"do": "restart", "seconds": seconds, "environment": proxies}, progress)
    return machine_inspect(name)


def switch_system(place: Place, what: Switch, progress: Progress) -> None:
    """Have a machine that runs go on to another system, or back; return when it answers again.

    Raises:
        NotReady: it does not, or refuses.
    """
    _follow(place, {"do": "switch", "to": what.value}, progress)


@contextmanager
def hold(place: Place) -> Iterator[None]:
    """Hold an ephemeral machine: it ends when this process does."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(os.fspath(place.socket("control")))
        link.sendall(json.dumps({"do": "hold"}).encode() + b"\n")
        yield


def machine_ssh(name: str, command: tuple[str, ...] = (), *, user: str = "core") -> int:
    """Run a command in a machine, or a shell, on this process's terminal; return its exit code, 255 where ssh failed.

    Raises:
        ConflictError: the machine does not run.
        NotFoundError: there is no such machine.
        ToolError: ssh is not installed.
    """
    place = _running(name)
    terminal = ("-t",) if not command and os.isatty(0) else ()
    return attached([*client(place, _user(user), *terminal), *command_line(command)], hint=HINT)


def machine_cp(source: str, target: str, *, user: str = "core") -> int:
    """Copy a file or folder into a machine or out of it, one side being ``NAME:PATH``; return scp's exit code.

    Raises:
        UsageError: none of the two is in a machine, or both are.
        ConflictError: the machine does not run.
        NotFoundError: there is no such machine.
        ToolError: scp is not installed.
    """
    if not (source and target):
        raise UsageError("a path is empty", hint="the current directory is .")
    sides = [_machine_of(source), _machine_of(target)]
    names = [each for each in sides if each is not None]
    if len(names) != 1:
        raise UsageError(
            "one of the two must be NAME:PATH, a path in a machine",
            hint="for a file with a colon in its name, write ./FILE",
        )
    place = _running(names[0])
    paths = [text if each else os.path.join(".", text) for text, each in zip((source, target), sides, strict=True)]  # noqa: PTH118 - keeps a slash at the end
    return attached(
        ["scp", "-q", "-r", "-F", str(place.ssh_config), "-o", f"User={_user(user)}", "--", *paths], hint=HINT
    )


def _machine_of(text: str) -> str | None:
    name, colon, _ = text.partition(":")
    return name if colon and "/" not in name else None


def _user(user: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user):
        raise UsageError(f"{user[:80]!r} is not the name of a user")
    return user


def _running(name: str) -> Place:
    place = Machines.here().place(name)
    place.load()
    if not (place.ssh_config.exists() and place.is_held("vm.lock")):
        raise ConflictError(f"machine {name} does not run", hint=f"haulout machine start {name}")
    return place
