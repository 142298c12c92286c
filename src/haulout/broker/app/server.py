"""The server: HTTPS by uvicorn, on one socket, until it is told to end."""

from __future__ import annotations

import ctypes
import resource
import socket
import ssl
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from haulout.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp

_PR_SET_DUMPABLE: Final = 4
_BACKLOG: Final = 1024
_LARGEST_HEAD: Final = 64 << 10
"""Bytes of a request's head; a token of this broker has about 4 KiB."""
_MOST: Final = 2000
"""Connections at once; more are answered by 503."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how a server listens.

    Attributes:
        host, port: the address; port 0: a free one.
        certificate, key: files in PEM; None: plain HTTP, for a proxy on this machine.
        client_ca: certificates that sign those of owners; None: owners have tokens only.
        shared: whether several processes listen on this port, and the kernel shares connections out.
        backlog_seconds: how long requests may take to end when the server is told to.
    """

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    shared: bool = False
    graceful_seconds: int = 20


class Connection(H11Protocol):
    """A connection whose requests know the client's certificate: ``scope["state"]["certificate"]``, in DER."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the certificate, which TLS verified."""
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate:
            self.app_state = {**self.app_state, "certificate": certificate}


def listen(listening: Listening) -> socket.socket:
    """Bind the socket.

    Raises:
        UnreachableError: the address is in use or not this machine's.
    """
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((listening.host, listening.port))
        bound.listen(_BACKLOG)
    except OSError as exc:
        bound.close()
        where = f"{listening.host}:{listening.port}"
        raise UnreachableError(f"cannot listen on {where}: {exc.strerror}", hint="choose another --listen") from exc
    bound.setblocking(False)
    return bound


def run(app: ASGIApp, bound: socket.socket, listening: Listening, *, http: Callable[..., Any] = Connection) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        app: what answers.
        bound: see :func:`listen`.
        listening: the same that it was bound by.
        http: makes the protocol of a connection.

    Raises:
        UsageError: certificate, key or CA cannot be used.
    """
    forbid_core_dumps()
    config = uvicorn.Config(
        app,
        http=http,  # type: ignore[arg-type]
        ws="none",
        lifespan="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=listening.graceful_seconds,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        backlog=_BACKLOG,
    )
    config.load()
    config.ssl = _tls(listening)
    uvicorn.Server(config).run(sockets=[bound])


def _tls(listening: Listening) -> ssl.SSLContext | None:
    if listening.certificate is None:
        return None
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(listening.certificate, listening.key)
        if listening.client_ca is not None:
            context.load_verify_locations(listening.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"cannot serve TLS with {listening.certificate}: {exc}", hint="give the certificate and its key in PEM"
        ) from exc
    return context


def forbid_core_dumps() -> None:
    """Keep the keys in this process out of core dumps, and of other processes of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
