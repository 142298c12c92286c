"""An ASGI application behind a real uvicorn on a thread of this process."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def served(app: Any, **options: Any) -> Iterator[tuple[str, int]]:
    """Serve an application; yield host and port."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="off", **{"http": "h11", "ws": "none", **options})
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    deadline = monotonic() + 240
    while not server.started and monotonic() < deadline:
        sleep(0.005)
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()


def exchange(address: tuple[str, int], data: bytes, *, seconds: float = 240) -> bytes:
    """Send bytes and return all that comes until the server closes."""
    with socket.create_connection(address, timeout=seconds) as connection:
        connection.sendall(data)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found
