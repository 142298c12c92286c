"""What happens to machines: one history for all of a user's, in lines of JSON that followers read as they come.

Apart from the machines' folders, so that a removal is in it, and a follower hears of machines that are made later.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from haulout.documents import Document
from haulout.local import hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST: Final = 1 << 20
"""Bytes of a history, after which a new one is begun; the one before is kept."""
_POLL: Final = 0.25
_LOCK_SECONDS: Final = 2.0
_ATTEMPTS: Final = 5


class EventKind(StrEnum):
    """What happened."""

    CREATED = "created"
    CLONED = "cloned"
    SET = "set"
    STARTING = "starting"
    STARTED = "started"
    """It answers, with all its sockets; also after its guest rebooted by itself."""
    DEGRADED = "degraded"
    """It answers, but lacks a socket, or lost a mount."""
    STOPPED = "stopped"
    CRASHED = "crashed"
    """It ended without having been asked to, or did not become ready."""
    REMOVED = "removed"
    UPDATE_FOUND = "update-found"
    """There is another version; its user was told."""
    UPDATE_STAGED = "update-staged"
    """It was fetched, and waits."""
    UPDATED = "updated"
    """Another system has proved itself, and is kept."""
    UNDONE = "update-undone"
    """It has not: the machine has the system and data that it had before."""
    ROLLED_BACK = "rolled-back"
    """The user went back to the system before."""


@dataclass(frozen=True, slots=True)
class MachineEvent(Document):
    """Something that happened to a machine (docs/machine-event.schema.json)."""

    time: datetime
    machine: str
    """Its name."""
    id: str | None
    """Its UUID; None where its file was broken."""
    kind: EventKind
    data: Mapping[str, Any] = field(default_factory=dict)
    """What else there is to say, by kind."""


def publish(history: Path, machine: str, uuid: str | None, kind: EventKind, **data: Any) -> None:
    """Add an event; where that is impossible, the work it tells of goes on. Data that is None is left out."""
    known = {key: value for key, value in data.items() if value is not None}
    with suppress(OSError):
        history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for _ in range(_ATTEMPTS):
            if _append(history, machine, uuid, kind, known):
                return


def _append(history: Path, machine: str, uuid: str | None, kind: EventKind, data: Mapping[str, Any]) -> bool:
    """Add an event; False: another history was begun meanwhile."""
    fd = os.open(history, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        hold(fd, seconds=_LOCK_SECONDS)
        size, number = os.fstat(fd).st_size, os.fstat(fd).st_ino
        if not history.exists() or history.stat().st_ino != number:
            return False
        if size > MOST:
            history.replace(_before(history))
            return False
        event = MachineEvent(datetime.now(UTC), machine, uuid, kind, data)
        # A line that a kill or a full disk cut short must not take this one with it.
        torn = size and os.pread(fd, 1, size - 1) != b"\n"
        os.write(fd, b"\n" * bool(torn) + json.dumps(event.to_dict()).encode() + b"\n")
    finally:
        os.close(fd)
    return True


def _before(history: Path) -> Path:
    return history.with_name(f"{history.name}.1")


def read_events(history: Path, *, follow: bool = False, ended: threading.Event | None = None) -> Iterator[MachineEvent]:
    """Yield what a history holds, the oldest first; lines that are cut short are passed over.

    Args:
        history: of all machines.
        follow: go on, and yield what happens, until ``ended`` is set or the iteration is given up.
        ended: set, by any thread, to end it.
    """
    ended = ended or threading.Event()
    number, offset = None, 0
    while True:
        with ExitStack() as stack:
            files = []
            # The newer one first: it may become the older one at any moment.
            for path in (history, _before(history)):
                with suppress(FileNotFoundError):
                    files.append(stack.enter_context(path.open("rb")))
            for file in reversed(files):
                found = os.fstat(file.fileno()).st_ino
                if found != number and (number is None or file is files[0]):
                    number, offset = found, 0
                if found == number:
                    file.seek(offset)
                    piece = _whole(file.read(2 * MOST))
                    offset += len(piece)
                    yield from _parsed(piece)
        if not follow or ended.wait(_POLL):
            return


def _whole(piece: bytes) -> bytes:
    """Return the whole lines at the beginning of a piece; the rest may be under way."""
    return piece[: piece.rfind(b"\n") + 1]


def _parsed(piece: bytes) -> Iterator[MachineEvent]:
    for line in piece.splitlines():
        with suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
            found = json.loads(line)
            at = datetime.fromisoformat(found["time"]).astimezone(UTC)
            if not 1970 <= at.year < 9999:  # Others do not exist in every zone.
                continue
            yield MachineEvent(at, str(found["machine"]), found["id"], EventKind(found["kind"]), dict(found["data"]))
