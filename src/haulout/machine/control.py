"""Talk to a supervisor: one JSON object asks, lines of JSON answer. For commands, which are not asynchronous."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import ConflictError, NotReady, ToolError
from haulout.local import detach, printable, storage_errors
from haulout.machine.states import Phase, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from haulout.machine.store import Place

_STATUS_SECONDS: Final = 2.0
_LONGEST: Final = 600.0
_TICK_SECONDS: Final = 0.5
_CHUNK: Final = 1 << 16
_FORWARD_SECONDS: Final = 20.0


@contextmanager
def asked(
    place: Place, request: dict[str, Any], seconds: float, tick: Callable[[], None] = lambda: None
) -> Iterator[Iterator[dict[str, Any]]]:
    """Ask, and yield the answers one by one.

    Args:
        place: of the machine.
        request: ``{"do": …}``.
        seconds: the longest silence.
        tick: called twice a second; what it raises ends the conversation.

    Raises:
        OSError: there is no supervisor, or it is silent.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_STATUS_SECONDS)
        link.connect(os.fspath(place.socket("control")))
        link.sendall(json.dumps(request).encode() + b"\n")
        yield _answers(link, seconds, tick)


def _answers(link: socket.socket, seconds: float, tick: Callable[[], None]) -> Iterator[dict[str, Any]]:
    pending, silence = b"", 0.0
    while True:
        line, end, rest = pending.partition(b"\n")
        if end:
            pending = rest
            yield json.loads(line)
        elif select.select([link], [], [], min(_TICK_SECONDS, seconds))[0]:
            if not (piece := link.recv(_CHUNK)):
                return
            pending, silence = pending + piece, 0.0
        else:
            tick()
            silence += _TICK_SECONDS
            if silence >= seconds:
                raise TimeoutError(f"it said nothing for {seconds:.0f} seconds")


def status(place: Place) -> Status | None:
    """Return what the supervisor says; None where there is none, or it says nothing."""
    with suppress(OSError, ValueError, KeyError, TypeError), asked(place, {"do": "status"}, _STATUS_SECONDS) as answers:
        for one in answers:
            return Status(
                Phase(one["phase"]),
                float(one["since"]),
                str(one["waiting_for"]),
                str(one["accelerator"]),
                int(one["port"]),
                tuple(one["sockets"]),
                tuple(one["missing"]),
                # One that was started by an older haulout does not say.
                tuple(one.get("lost", ())),
            )
    return None


def clients(place: Place) -> int | None:
    """Return how many are connected to the sockets and ports of a machine that runs; None: nobody says."""
    with suppress(OSError, ValueError, TypeError), asked(place, {"do": "clients"}, _FORWARD_SECONDS) as answers:
        for one in answers:
            found = one.get("clients")
            return found if isinstance(found, int) else None
    return None


def start_supervisor(place: Place) -> None:
    """Start the supervisor, and return when it listens.

    Raises:
        ConflictError: there is one already.
        ToolError: it cannot be started.
    """
    ours, theirs = os.pipe()
    try:
        with storage_errors(place.folder, doing="cannot be written"):
            log = os.open(place.file("supervisor.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            detach([sys.executable, "-P", "-m", "haulout.machine", place.name], stdout=theirs, stderr=log)
        finally:
            os.close(log)
            os.close(theirs)
        with os.fdopen(os.dup(ours), "rb") as said:
            answer = said.read().decode("utf-8", "replace").strip()
    finally:
        os.close(ours)
    if answer != "listening":
        known = ConflictError if "running already" in answer else ToolError
        reason = printable(answer) or f"ended at once; see {place.file('supervisor.log')}"
        raise known(reason) if known is ConflictError else ToolError("the machine's supervisor", reason)


def forward_ports(place: Place) -> None:
    """Have a machine that runs lead the ports into its guest that its file names by now.

    Raises:
        ConflictError: that does not go, as where a port is taken.
    """
    try:
        with asked(place, {"do": "forward"}, _FORWARD_SECONDS) as answers:
            failed = next(answers, {}).get("failed")
    except (OSError, ValueError):
        # It is ending, or hangs: the next start does it.
        return
    if failed:
        raise ConflictError(printable(str(failed)))


def copy_data(place: Place, target: Path, advance: Callable[[int], None]) -> None:
    """Have a machine that runs copy its data disk, as it is in one moment, to an empty file of its size.

    Args:
        place: of the machine.
        target: the file.
        advance: told how many more bytes are done, at least twice a second; what it raises ends the copy.

    Raises:
        ToolError: that does not go, as where the machine is not ready.
    """
    done, reason = 0, "ended"
    try:
        with asked(place, {"do": "copy", "target": str(target)}, _LONGEST, lambda: advance(0)) as answers:
            for one in answers:
                if "done" in one:
                    return
                reason = str(one.get("failed", reason))
                advance(one.get("copied", done) - done)
                done = one.get("copied", done)
    except (OSError, ValueError) as error:
        reason = f"does not answer: {error}"
    raise ToolError("the machine's supervisor", printable(reason))


def follow(
    place: Place, request: dict[str, Any], say: Callable[[str], None], tick: Callable[[], None] = lambda: None
) -> None:
    """Ask for something that takes time, and tell what is waited for, until it is done.

    What ``say`` or ``tick``, which is called twice a second, raise ends the wait, and nothing else.

    Raises:
        NotReady: the machine did not become what was asked for.
    """
    try:
        with asked(place, request, _LONGEST, tick) as answers:
            for one in answers:
                if "say" in one:
                    say(str(one["say"]))
                if "failed" in one:
                    console = [printable(line) for line in one["console"]]
                    raise NotReady(place.name, printable(str(one["failed"])), console, hint=one.get("hint"))
                if "done" in one:
                    return
    except (OSError, ValueError) as error:
        raise NotReady(place.name, f"its supervisor does not answer: {error}", place.console()) from error
    raise NotReady(place.name, "its supervisor ended", place.console())
