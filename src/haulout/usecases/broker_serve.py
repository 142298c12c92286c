"""Serve a broker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from haulout.broker import Place
from haulout.broker.app import Broker, Connection, Folder, Listening, Settings, build, listen, run
from haulout.broker.operations import MOST_EACH, Connections, Limit, Options, Running, Services, write_logs
from haulout.errors import UsageError
from haulout.http import is_loopback
from haulout.local import read_small
from haulout.tee import KDS, PCS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO


_SHORTEST_TOKEN: Final = 16
_MOST_BEHIND: Final = 1 << 20


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
        v0: also speak the protocol of libkrun up to 1.19.
        cache: folder of what is fetched from vendors; None: ``collateral`` in the broker's.
        offline: nothing is fetched.
        kds, pcs: URLs of AMD's and Intel's services, or of what caches them; None: the vendors' own.
        per_client, per_workload: limits, ``BURST/PER-SECOND``.
        metrics_token_file: has what Prometheus sends as a bearer token; None: there are no metrics.
        overdue_hours: after so many hours without success a machine is overdue.
        evidence_days: how long evidence is kept for dry runs and forecasts.
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
    v0: bool = False
    cache: Path | None = None
    offline: bool = False
    kds: str | None = None
    pcs: str | None = None
    per_client: str | None = None
    per_workload: str | None = None
    metrics_token_file: Path | None = None
    overdue_hours: float = 26
    evidence_days: float = 90

    def operation(self, folder: Path) -> Options:
        """Return how it is operated.

        Args:
            folder: of the broker.

        Raises:
            UsageError: a limit is not one, or the token is too short.
            NotFoundError: the file of the token does not exist.
        """
        given = Options(
            cache=self.cache or folder / "collateral",
            offline=self.offline,
            services=Services(self.kds or KDS, self.pcs or PCS),
            metrics_token=None if self.metrics_token_file is None else _token(self.metrics_token_file),
            overdue=timedelta(hours=self.overdue_hours),
            evidence_days=self.evidence_days,
            forwarded=self.forwarded,
        )
        return replace(
            given,
            per_client=Limit.parse(self.per_client) if self.per_client else given.per_client,
            per_workload=Limit.parse(self.per_workload) if self.per_workload else given.per_workload,
        )


def _token(file: Path) -> str:
    token = read_small(file, 4096).decode("ascii", "replace").strip()
    if len(token) < _SHORTEST_TOKEN:
        raise UsageError(f"{file} holds no token: at least {_SHORTEST_TOKEN} characters are needed")
    return token


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a broker listens."""

    url: str
    host: str
    port: int


def broker_serve(request: ServeRequest, ready: Callable[[Serving], None], *, logs: TextIO | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        request: how.
        ready: told once, when connections are accepted.
        logs: where the log goes, in lines of JSON; None: to whatever handles ``haulout.broker`` and ``uvicorn``.

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
    if logs is not None:
        write_logs(logs)
    place = Place.open(request.folder)
    store = place.store()
    try:
        store.require_current()
        running = Running(store, request.operation(place.folder))
        supply = running.supply if request.collateral is None else Folder.read(request.collateral)
        settings = Settings(place.url, v0=request.v0, forwarded=request.forwarded)
        broker = Broker(store, supply, settings, admit=running.admit)
        broker.keys()  # no request is taken that could not be answered
        listening = Listening(
            request.host,
            request.port,
            None if request.plain_http else request.certificate or place.certificate,
            None if request.plain_http else request.key or (None if request.certificate else place.key),
            request.client_ca,
            request.shared_port,
        )
        # A proxy speaks for many clients.
        connections = Connections(base=Connection, most=_MOST_BEHIND if request.forwarded else MOST_EACH)
        with listen(listening) as bound, running:
            host, port = bound.getsockname()[:2]
            # Connections wait in the socket's queue from now on.
            ready(Serving(f"{'http' if request.plain_http else 'https'}://{host}:{port}", host, port))
            app = running.guarded(build(broker, routes=running.routes()))
            run(app, bound, listening, http=connections)
    finally:
        store.close()
