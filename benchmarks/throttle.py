"""A proxy on loopback with the bandwidth and delay of a slow line, for HTTP/1.1 requests without bodies."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = 16 * 1024
GRACE = 0.005
"""Seconds a sleep may last too long without the line losing them: a real one sends while something waits."""


class Line:
    """A line shared by all connections: bytes leave it at a steady rate."""

    def __init__(self, bits_per_second: float, delay: float) -> None:
        self.rate = bits_per_second / 8
        self.delay = delay
        self.carried = 0
        self._free = time.monotonic()
        self._lock = threading.Lock()

    def carry(self, amount: int) -> None:
        """Wait until ``amount`` bytes have passed."""
        with self._lock:
            self.carried += amount
            self._free = max(self._free, time.monotonic() - GRACE) + amount / self.rate
            until = self._free
        time.sleep(max(0.0, until - time.monotonic()))


@contextmanager
def slow_line(host: str, bits_per_second: float, delay: float = 0.02) -> Iterator[tuple[str, Line]]:
    """Yield the address of a proxy to ``host``, and its line; what it carries back is slowed, requests are delayed."""
    name, _, port = host.rpartition(":")
    line = Line(bits_per_second, delay)
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    closing = threading.Event()

    def pump(source: socket.socket, target: socket.socket, *, slowly: bool) -> None:
        try:
            while data := source.recv(STEP):
                if slowly:
                    line.carry(len(data))
                else:
                    time.sleep(line.delay)
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while not closing.is_set():
            try:
                client, _ = server.accept()
            except OSError:
                return
            upstream = socket.create_connection((name, int(port)))
            for one in (client, upstream):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=pump, args=(client, upstream), kwargs={"slowly": False}, daemon=True).start()
            threading.Thread(target=pump, args=(upstream, client), kwargs={"slowly": True}, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", line
    finally:
        closing.set()
        server.close()
