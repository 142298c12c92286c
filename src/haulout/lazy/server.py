"""The server: one thread for each client, and one more for those that read what has to be fetched first.

What is here is answered at once, from the file itself; what is not here does not hold up what is.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol

from haulout.lazy import protocol
from haulout.lazy.protocol import Command, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK: Final = 1 << 16
_SMALL: Final = 1 << 17
"""Bytes up to which a copy costs less than a second call of the system."""
_PENDING: Final = 256
"""Reads of one client that may wait for bytes; QEMU has 16 under way."""
_TICK: Final = 0.5


class Export(Protocol):
    """What is served."""

    size: int
    fd: int
    """A file that holds its bytes, as far as they are here."""

    def require(self, offset: int, length: int, done: Callable[[bool], None]) -> bool:
        """Return whether these bytes are here; if not, ``done`` is told, from any thread, whether they came."""


class Server:
    """Serves an export on a UNIX socket.

    Args:
        listener: a socket that listens.
        export: what is served.
    """

    def __init__(self, listener: socket.socket, export: Export) -> None:
        self._listener = listener
        self._export = export
        self._clients: set[threading.Thread] = set()

    def run(self, *, first: float, idle: float, tick: Callable[[], None] = lambda: None) -> None:
        """Serve until there was no client for a while.

        Args:
            first: seconds that the first client has.
            idle: seconds without a client after which it ends.
            tick: called now and then.
        """
        end = time.monotonic() + first
        self._listener.settimeout(_TICK)
        while self._clients or time.monotonic() < end:
            with suppress(TimeoutError):
                link, _ = self._listener.accept()
                link.settimeout(None)
                client = threading.Thread(target=self._serve, args=(link,), name="client", daemon=True)
                self._clients.add(client)
                client.start()
            ended = {each for each in self._clients if not each.is_alive()}
            if ended:
                self._clients -= ended
                end = max(end, time.monotonic() + idle)
            tick()

    def _serve(self, link: socket.socket) -> None:
        with link, suppress(OSError, protocol.ProtocolError):
            _Client(link, self._export).run()


class _Client:
    """One connection."""

    def __init__(self, link: socket.socket, export: Export) -> None:
        self._link = link
        self._export = export
        self._sending = threading.Lock()
        self._late: SimpleQueue[tuple[protocol.Request, bool] | None] = SimpleQueue()
        self._slots = threading.Semaphore(_PENDING)
        self._answering: threading.Thread | None = None

    def run(self) -> None:
        if self._negotiate():
            try:
                self._transmit()
            finally:
                self._late.put(None)

    def _negotiate(self) -> bool:
        self._link.sendall(protocol.GREETING)
        no_zeroes = protocol.client_flags(self._exactly(protocol.CLIENT_FLAGS.size))
        while True:
            option, length = protocol.option_head(self._exactly(protocol.OPTION.size))
            found = protocol.negotiate(option, self._exactly(length), self._export.size, no_zeroes=no_zeroes)
            self._link.sendall(found.reply)
            if found.transmission or found.over:
                return found.transmission

    def _exactly(self, amount: int) -> bytes:
        data = b""
        while len(data) < amount:
            if not (piece := self._link.recv(amount - len(data))):
                raise ConnectionError
            data += piece
        return data

    def _transmit(self) -> None:
        pending, width = bytearray(), protocol.REQUEST.size
        while True:
            at = 0
            while len(pending) - at >= width:
                wanted = protocol.request(pending, at)
                at += width
                if wanted.kind == Command.DISCONNECT:
                    return
                if wanted.kind == Command.WRITE:
                    at = self._skip(pending, at, wanted.length)
                self._answer(wanted)
            del pending[:at]
            if not (piece := self._link.recv(_CHUNK)):
                return
            pending += piece

    def _skip(self, pending: bytearray, at: int, length: int) -> int:
        """Read over what would be written, and return where the next request begins."""
        if (rest := length - (len(pending) - at)) <= 0:
            return at + length
        while rest > 0:
            if not (piece := self._link.recv(min(rest, _CHUNK))):
                raise ConnectionError
            rest -= len(piece)
        return len(pending)

    def _answer(self, wanted: protocol.Request) -> None:
        fault = wanted.fault(self._export.size)
        if fault or wanted.kind == Command.FLUSH:
            with self._sending:
                self._link.sendall(protocol.reply(wanted.cookie, fault))
        elif self._export.require(wanted.offset, wanted.length, lambda ok: self._late.put((wanted, ok))):
            self._send(wanted)
        else:
            self._slots.acquire()
            if self._answering is None:
                # Who fetches does not wait for a client that does not read.
                self._answering = threading.Thread(target=self._answer_late, name="late", daemon=True)
                self._answering.start()

    def _answer_late(self) -> None:
        with suppress(OSError):
            while (found := self._late.get()) is not None:
                wanted, ok = found
                self._slots.release()
                if ok:
                    self._send(wanted)
                else:
                    with self._sending:
                        self._link.sendall(protocol.reply(wanted.cookie, Fault.IO))

    def _send(self, wanted: protocol.Request) -> None:
        """Send what was read; a file that cannot be read ends the connection, since half a reply may be out."""
        head, offset, left = protocol.reply(wanted.cookie), wanted.offset, wanted.length
        with self._sending:
            try:
                if left <= _SMALL:
                    data = os.pread(self._export.fd, left, offset)
                    if len(data) != left:
                        raise OSError("the file is too short")  # noqa: TRY301 - as for a longer read
                    self._link.sendall(head + data)
                    return
                self._link.sendall(head, socket.MSG_MORE)
                while left:
                    if not (sent := os.sendfile(self._link.fileno(), self._export.fd, offset, left)):
                        raise OSError("the file is too short")  # noqa: TRY301
                    offset, left = offset + sent, left - sent
            except OSError:
                with suppress(OSError):
                    self._link.shutdown(socket.SHUT_RDWR)
                raise
