"""Serve a broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.broker import Place
from haulout.broker.app import Broker, Folder, Listening, Settings, build, listen, run
from haulout.errors import UsageError
from haulout.http import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """How to serve.

    Attributes:
        folder: of the broker.
        host, port: where to listen; port 0: a free one.
        certificate, key: files in PEM; None: those in the folder.
        plain_http: no TLS: for a proxy on this machine.
        client_ca: file of the certificates that sign those of owners; None: owners have tokens only.
        collateral: folder of the vendors' certificates and collateral; None: guests bring them.
        shared_port: several processes listen on this port.
        forwarded: the client's address is what a proxy wrote into X-Forwarded-For.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8443
    certificate: Path | None = None
    key: Path | None = None
    plain_http: bool = False
    client_ca: Path | None = None
    collateral: Path | None = None
    shared_port: bool = False
    forwarded: bool = False


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a broker listens."""

    url: str
    host: str
    port: int


def broker_serve(request: ServeRequest, ready: Callable[[Serving], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        request: how.
        ready: told once, when connections are accepted.

    Raises:
        NotFoundError: the folder is not a broker's.
        UsageError: certificate or key cannot be used, or plain HTTP would leave this machine.
        UnreachableError: the address cannot be listened on.
        HauloutError: the database refuses, or is not up to date.
    """
    if request.plain_http and not is_loopback(request.host):
        raise UsageError(
            f"a broker on {request.host} needs TLS",
            hint="listen on 127.0.0.1 behind a proxy, or leave out --no-tls",
        )
    place = Place.open(request.folder)
    store = place.store()
    try:
        store.require_current()
        supply = Folder() if request.collateral is None else Folder.read(request.collateral)
        broker = Broker(store, supply, Settings(place.url, forwarded=request.forwarded))
        broker.keys()  # no request is taken that could not be answered
        listening = Listening(
            request.host,
            request.port,
            None if request.plain_http else request.certificate or place.certificate,
            None if request.plain_http else request.key or (None if request.certificate else place.key),
            request.client_ca,
            request.shared_port,
        )
        with listen(listening) as bound:
            host, port = bound.getsockname()[:2]
            # Connections wait in the socket's queue from now on.
            ready(Serving(f"{'http' if request.plain_http else 'https'}://{host}:{port}", host, port))
            run(build(broker), bound, listening)
    finally:
        store.close()
