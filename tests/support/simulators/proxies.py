"""Proxies on loopback that connect everybody to one server, whatever name was asked for."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _join(client: socket.socket, server: socket.socket) -> None:
    other = threading.Thread(target=_pump, args=(server, client), daemon=True)
    other.start()
    _pump(client, server)
    other.join(5)


def _until_blank(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n") and (one := client.recv(1)):
        head += one
    return head


@contextmanager
def proxy(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that talks as told; yields ``127.0.0.1:PORT``."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                talk(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@contextmanager
def http_proxy(target: str, seen: list[str], *, refuse: str = "") -> Iterator[str]:
    """Forward requests, and open tunnels, to ``target``; ``seen`` gets each request line and Proxy-Authorization."""

    def talk(client: socket.socket) -> None:
        head = _until_blank(client)
        lines = head.decode("latin-1").split("\r\n")
        login = [line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-authorization:")]
        seen.append(" ".join([*lines[0].split(" ")[:2], *login]))
        if refuse:
            client.sendall(f"HTTP/1.1 {refuse}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            if lines[0].startswith("CONNECT "):
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                method, url, version = lines[0].split(" ")
                path = "/" + url.partition("://")[2].partition("/")[2]
                server.sendall("\r\n".join([f"{method} {path} {version}", *lines[1:]]).encode("latin-1"))
            _join(client, server)

    with proxy(talk) as address:
        yield address


@contextmanager
def socks_proxy(target: str, seen: list[str], *, login: tuple[str, str] | None = None) -> Iterator[str]:
    """SOCKS 5 (RFC 1928, RFC 1929); ``seen`` gets each name and port that is asked for."""

    def take(client: socket.socket, amount: int) -> bytes:
        data = b""
        while len(data) < amount and (part := client.recv(amount - len(data))):
            data += part
        return data

    def talk(client: socket.socket) -> None:
        methods = take(client, take(client, 2)[1])
        wanted = 2 if login else 0
        client.sendall(bytes([5, wanted if wanted in methods else 255]))
        if login:
            user = take(client, take(client, 2)[1]).decode()
            password = take(client, take(client, 1)[0]).decode()
            client.sendall(bytes([1, 0 if (user, password) == login else 1]))
        kind = take(client, 4)[3]
        name = socket.inet_ntoa(take(client, 4)) if kind == 1 else take(client, take(client, 1)[0]).decode()
        seen.append(f"{name}:{int.from_bytes(take(client, 2))}")
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"\x05\0\0\x01" + bytes(6))
            _join(client, server)

    with proxy(talk) as address:
        yield address
