"""What stands before the application: request ids, limits, bounds of size and time, one line of log, one observation.

It is plain ASGI, outermost; so whatever the application does, the client gets an answer, and the log has a line.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from haulout.broker.operations.limits import Limit, Limiter
from haulout.broker.operations.logs import begin_request
from haulout.broker.protocol import MEDIA_TYPE, STATUS, Problem, Rejected, Trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import TypeAlias

    from haulout.broker.operations.metrics import Metrics

    Message: TypeAlias = MutableMapping[str, Any]
    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOG: Final = logging.getLogger("haulout.broker.access")
_FREE: Final = frozenset({"/healthz", "/readyz"})
"""Probes are not limited: they cost nothing, and an orchestrator would end a broker that does not answer them."""
PER_CLIENT: Final = Limit(burst=300, per_second=30)
PER_WORKLOAD: Final = Limit(burst=100, per_second=10)
_TOO_MANY: Final = {
    "client": "there were too many requests from this address",
    "workload": "the key of this workload was asked for too often",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much each may ask: clients by their address, workloads by their id."""

    client: Limiter = field(default_factory=lambda: Limiter(PER_CLIENT))
    workload: Limiter = field(default_factory=lambda: Limiter(PER_WORKLOAD))

    def require(self, kind: Literal["client", "workload"], key: str, metrics: Metrics, now: float) -> None:
        """Count a request of a client, or for the key of a workload.

        Raises:
            Rejected: there are too many.
        """
        wait = (self.client if kind == "client" else self.workload).take(key, now)
        if wait:
            metrics.limited.labels(kind).inc()
            raise Rejected(Trouble.TOO_MANY, _TOO_MANY[kind], retry_after=math.ceil(wait))


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest body in bytes; the seconds for a body to come, and for an answer to be taken."""

    body: int = 4 << 20
    body_seconds: float = 20.0
    send_seconds: float = 20.0


class Guard:
    """An application before another."""

    def __init__(
        self,
        app: App,
        *,
        limits: Limits,
        metrics: Metrics,
        monotonic: Callable[[], float],
        bounds: Bounds | None = None,
        forwarded: bool = False,
    ) -> None:
        self._app = app
        self._forwarded = forwarded
        self._limits = limits
        self._metrics = metrics
        self._monotonic = monotonic
        self._bounds = bounds or Bounds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._bounds, self._monotonic)
        try:
            self._admit(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except Rejected as exc:
            await exchange.reject(exc)
        except _ClientGoneError:
            exchange.broken = True
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer, and the log its place
            if exchange.refused is None:
                _LOG.exception("failed")
                await exchange.reject(Rejected(Trouble.UNAVAILABLE, "something went wrong here", retry_after=5), 500)
        finally:
            self._observe(scope, exchange)

    def _admit(self, scope: Scope) -> None:
        if scope["path"] not in _FREE:
            self._limits.require("client", counted_as(self._address(scope)), self._metrics, self._monotonic())
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if len(length) > 15 or not length.isdigit() or int(length) > self._bounds.body:
            raise Rejected(Trouble.TOO_LARGE, f"the body is larger than {self._bounds.body} bytes")

    def _address(self, scope: Scope) -> str:
        """Return the client's address: the last one in X-Forwarded-For, which the proxy wrote, if there is a proxy."""
        values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"] if self._forwarded else []
        if values:
            return str(values[-1].rpartition(b",")[2].strip().decode("latin-1")[:64])
        return str((scope.get("client") or ("",))[0])

    def _observe(self, scope: Scope, exchange: _Exchange) -> None:
        seconds = self._monotonic() - exchange.begun
        endpoint = getattr(scope.get("endpoint"), "__name__", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(endpoint, method, str(exchange.status)).observe(seconds)
        facts = {
            "client": self._address(scope),
            "method": method,
            "path": scope["path"],
            "status": exchange.status,
            "seconds": round(seconds, 4),
            "received": exchange.received,
        }
        _LOG.info("broken off" if exchange.broken else "answered", extra=facts)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class _ClientGoneError(Exception):
    """The client does not take its answer."""


class _Exchange:
    """One request and its answer, counted and bounded."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, bounds: Bounds, monotonic: Callable[[], float]
    ) -> None:
        self._receive, self._send, self._bounds = receive, send, bounds
        self._monotonic = monotonic
        self.id = begin_request()
        scope.setdefault("state", {})["request"] = self.id
        self.begun = monotonic()
        self.received = 0
        self.status = 0
        self.broken = False
        self.refused: Rejected | None = None
        """Why the body is not read on."""
        names = {name for name, _ in scope["headers"]}
        self._endless = b"transfer-encoding" in names
        self._over = not self._endless and b"content-length" not in names

    async def receive(self) -> Message:
        """Receive a part of the body."""
        if self._over:
            return await self._receive()
        left = self.begun + self._bounds.body_seconds - self._monotonic()
        try:
            async with asyncio.timeout(max(left, 0)):
                message = await self._receive()
        except TimeoutError:
            self._refuse(Trouble.TOO_SLOW, "the body did not come in time")
        self.received += len(message.get("body", b""))
        if self.received > self._bounds.body:
            self._refuse(Trouble.TOO_LARGE, f"the body is larger than {self._bounds.body} bytes")
        self._over = not message.get("more_body", False)
        return message

    def _refuse(self, trouble: Trouble, detail: str) -> NoReturn:
        self.refused = Rejected(trouble, detail)
        raise self.refused

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if self.refused is not None:
            # Whatever the application makes of the error: the client is told what is wrong with its body.
            await self.reject(self.refused)
            return
        await self._pass(message)

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            names = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in _HEADERS if name not in names]
            if self._endless and not self._over and b"connection" not in names:
                # What is left of the body is not read; on an open connection, it might never end.
                added.append((b"connection", b"close"))
            message["headers"] = [*message["headers"], *added, (b"x-request-id", self.id.encode())]
        try:
            async with asyncio.timeout(self._bounds.send_seconds):
                await self._send(message)
        except (TimeoutError, ConnectionError) as exc:
            raise _ClientGoneError from exc

    async def reject(self, why: Rejected, status: int = 0) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self.status:
            self.broken = self.broken or self.refused is None
            return
        status = status or STATUS[why.trouble]
        body = Problem(why.trouble, why.detail, f"urn:haulout:request:{self.id}", status).to_bytes()
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        if why.retry_after is not None:
            headers.append((b"retry-after", str(why.retry_after).encode()))
        if not self._over:
            # What is left of the body is not read.
            headers.append((b"connection", b"close"))
        await self._pass({"type": "http.response.start", "status": status, "headers": headers})
        await self._pass({"type": "http.response.body", "body": body})


_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"strict-transport-security", b"max-age=31536000"),
)


def counted_as(address: str) -> str:
    """Return whom a limit counts: an IPv4 address, or the /64 network of an IPv6 one, which one subscriber has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
