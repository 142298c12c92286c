"""What a guest under QEMU says: its console, and the two sockets behind its virtio-serial ports."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from haulout.guest import as_answer, read_question
from haulout.local import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from haulout.guest import Answer

FATAL: Final = re.compile(r"(device-mapper: verity: .*is corrupted|Kernel panic - not syncing: .*)")
"""Why a kernel stops."""
_TAIL: Final = 60


@dataclass
class Event:
    """What the guest said, and when."""

    step: str
    text: str
    more: dict[str, Any]
    at: float


@dataclass
class Ports:
    """The two sockets of QEMU, each with a thread."""

    folder: Path
    told: Callable[[str, str], None]
    events: list[Event] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def tee(self) -> Path:
        """The socket of the TEE."""
        return self.folder / "tee"

    @property
    def status(self) -> Path:
        """The socket of the status."""
        return self.folder / "status"

    def ready(self) -> bool:
        """Return whether QEMU listens on both."""
        return self.tee.exists() and self.status.exists()

    def serve(self, sign: Callable[[bytes], Answer]) -> None:
        """Answer and listen, until QEMU closes the sockets."""

        def answer(line: bytes, connection: socket.socket) -> None:
            with suppress(ValueError):
                connection.sendall(as_answer(sign(read_question(line))))

        def listen(line: bytes, _: socket.socket) -> None:
            with suppress(ValueError, TypeError, KeyError):
                more = json.loads(line)
                step, text = printable(str(more.pop("step"))), printable(str(more.pop("text")))
                self.events.append(Event(step, text, more, time.monotonic()))
                self.told(step, text)

        for path, handle in ((self.tee, answer), (self.status, listen)):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(path))
            thread = threading.Thread(target=_each_line, args=(connection, handle), daemon=True)
            thread.start()
            self._threads.append(thread)

    def finish(self) -> None:
        """Wait for what is still on its way."""
        for thread in self._threads:
            thread.join(5.0)


def _each_line(connection: socket.socket, handle: Callable[[bytes, socket.socket], None]) -> None:
    with connection, suppress(OSError), connection.makefile("rb") as file:
        for line in iter(lambda: file.readline(1 << 16), b""):
            handle(line, connection)


def follow(source: IO[bytes], console: Callable[[bytes], None]) -> list[str]:
    """Hand on what the console says until its end; return its last lines."""
    tail: list[str] = []
    for line in iter(lambda: source.readline(1 << 16), b""):
        console(line)
        tail.append(printable(line.decode("utf-8", "replace").strip()))
        # A stack trace is long; what led to it stands before.
        if len(tail) > _TAIL and not FATAL.search(tail[0]):
            del tail[0]
    return tail
