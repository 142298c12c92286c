"""Sends one HTTP request and hands back the answer: connection pools, timeouts, proxies. No credentials, no retries."""

from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Self

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout, make_headers, parse_url

from haulout.errors import RegistryError
from haulout.http.deadlines import Watchdog
from haulout.http.failures import FOREIGN
from haulout.http.origin import Origin, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from haulout.http.meter import Meter
    from haulout.http.options import HttpOptions
    from haulout.http.request import Request
    from haulout.http.tls import TlsProfile

POOL_SIZE: Final = 16
"""Idle connections kept per host: as many as a pull has threads."""
_SEND_BLOCK: Final = 256 * 1024
_SLOWEST: Final = 4 * 1024
"""Bytes per second below which a transfer counts as stalled."""
_ENDLESS: Final = "the answer does not end its header"
_DRAIN: Final = 64 * 1024
"""Unread bytes up to which finishing an answer is cheaper than a new connection."""

_SOCKET_OPTIONS: Final = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        [(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)]
        if hasattr(socket, "TCP_KEEPIDLE")
        else []
    ),
]


class Reply:
    """An answer whose body is still to be read. Close it; an unread rest closes the connection."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, meter: Meter, transport: Transport) -> None:
        self._response = response
        self._meter = meter
        self._transport = transport
        self._is_too_slow = False
        self.url = url
        self.status = response.status
        self.headers = response.headers
        """Case-insensitive; repeated headers are joined by commas."""

    @property
    def host(self) -> str:
        """``host[:port]`` of who answered."""
        return Origin.of(self.url).netloc

    @property
    def length(self) -> int | None:
        """Content-Length, or None where it is absent or nonsense."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def read(self, amount: int) -> bytes:
        """Read up to ``amount`` bytes; fewer only at the end or where the connection broke.

        Raises:
            one of ``failures.FOREIGN``: the connection failed or is slower than 4 KiB/s.
        """
        options = self._transport.options
        allowed = options.stall_seconds + amount / _SLOWEST
        with self._transport.watchdog.limit(allowed, self._response.shutdown) as limit:
            try:
                data = self._response.read(amount, decode_content=False)
            except FOREIGN:
                if limit.expired or self._is_too_slow:
                    raise TimeoutError("the transfer is too slow") from None
                raise
            # What did come is good; the next read finds the connection shut.
            self._is_too_slow = limit.expired
        self._meter.add(received=len(data))
        return data

    def body(self, limit: int, what: str) -> bytes:
        """Read the whole body, at most ``limit`` bytes, which are never exceeded in memory.

        Raises:
            RegistryError: it is longer, or encoded.
            one of ``failures.FOREIGN``: the connection failed.
        """
        refuse_encoding(self, what)
        if self.length is not None and self.length > limit:
            raise RegistryError(f"{what}: {self.host} sends {self.length} bytes; at most {limit} are accepted")
        parts: list[bytes] = []
        size = 0
        while size <= limit and (part := self.read(min(_DRAIN, limit + 1 - size))):
            parts.append(part)
            size += len(part)
        if size > limit:
            raise RegistryError(f"{what}: {self.host} sends more than the {limit} bytes that are accepted")
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back, or drop it where too much is unread."""
        rest = getattr(self._response, "length_remaining", None)
        try:
            if rest is not None and rest <= _DRAIN:
                if rest:
                    self.read(rest)
                self._response.drain_conn()
                self._response.release_conn()
            else:
                self._response.close()
        except FOREIGN:
            self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Transport:
    """Connection pools shared by all threads and repositories. Close it when done."""

    def __init__(self, options: HttpOptions, environment: Mapping[str, str] | None = None) -> None:
        self.options = options
        self.environment = os.environ if environment is None else environment
        self.watchdog = Watchdog()
        self._lock = Lock()
        self._managers: dict[tuple[TlsProfile, str | None], urllib3.PoolManager] = {}

    def send(
        self, request: Request, profile: TlsProfile, meter: Meter, *, connect_seconds: float | None = None
    ) -> Reply:
        """Send one request, whose target is a URL; redirects are returned, not followed.

        Raises:
            one of ``failures.FOREIGN``: no answer.
        """
        manager = self._manager(request.target, profile)
        options = self.options
        timeout = Timeout(
            connect=connect_seconds or options.connect_seconds,
            read=request.answer_seconds or options.stall_seconds,
        )
        body = request.body() if request.body is not None else None
        meter.add(requests=1, sent=len(body) if isinstance(body, bytes) else 0)
        response = manager.request(
            request.method,
            request.target,
            body=body,
            # Encodings would change the bytes that digests are about.
            headers={"User-Agent": options.user_agent, "Accept-Encoding": "identity", **request.headers},
            timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        return Reply(response, request.target, meter, self)

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            managers = list(self._managers.values())
            self._managers.clear()
        for manager in managers:
            manager.clear()
        self.watchdog.close()

    def _manager(self, url: str, profile: TlsProfile) -> urllib3.PoolManager:
        origin = Origin.of(url)
        proxy = self._proxy(origin)
        key = (profile, proxy)
        with self._lock:
            found = self._managers.get(key)
            if found is None:
                found = self._managers[key] = self._make(profile, proxy)
        return found

    def _make(self, profile: TlsProfile, proxy: str | None) -> urllib3.PoolManager:
        common: dict[str, Any] = {
            "num_pools": 64,
            "maxsize": POOL_SIZE,
            "block": False,
            "blocksize": _SEND_BLOCK,
            "ssl_context": profile.context(),
        }
        if proxy is None:
            manager = urllib3.PoolManager(**common, socket_options=_SOCKET_OPTIONS)
        else:
            parsed = parse_url(proxy)
            basic = make_headers(proxy_basic_auth=parsed.auth) if parsed.auth else None
            manager = urllib3.ProxyManager(proxy, proxy_headers=basic, **common)
        stall = self.options.stall_seconds
        manager.pool_classes_by_scheme = _pool_classes(self.watchdog, stall, quiet=not profile.verify)
        return manager

    def _proxy(self, origin: Origin) -> str | None:
        if bypasses_proxy(origin, self._proxies().get("no", "")):
            return None
        found = self._proxies().get(origin.scheme) or self._proxies().get("all")
        if not found:
            return None
        return found if "://" in found else f"http://{found}"

    def _proxies(self) -> dict[str, str]:
        found = {}
        for scheme in ("http", "https", "all", "no"):
            name = f"{scheme}_proxy"
            value = self.environment.get(name) or (self.environment.get(name.upper()) if scheme != "http" else None)
            if value:
                found[scheme] = value
        return found


def bypasses_proxy(origin: Origin, no_proxy: str) -> bool:
    """Whether ``no_proxy`` (names, suffixes, ``host:port``, CIDR networks, ``*``) or loopback exempts a host."""
    if is_loopback(origin.host):
        return True
    for entry in (part.strip().lower().lstrip(".") for part in no_proxy.split(",")):
        if entry == "*" or (entry and entry in {origin.host, f"{origin.host}:{origin.port}"}):
            return True
        if entry and origin.host.endswith(f".{entry.removeprefix('*.')}"):
            return True
        with suppress(ValueError):
            if "/" in entry and ipaddress.ip_address(origin.host) in ipaddress.ip_network(entry, strict=False):
                return True
    return False


def refuse_encoding(reply: Reply, what: str) -> None:
    """Refuse a body in another encoding than its own bytes: digests and ranges would be about something else.

    Raises:
        RegistryError: Content-Encoding is there and is not identity.
    """
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise RegistryError(
            f"{what}: {reply.host} sends it encoded as {encoding[:40]!r}, though asked not to",
            hint="something between compresses answers; it must leave registry traffic alone",
        )


def _pool_classes(watchdog: Watchdog, stall: float, *, quiet: bool) -> dict[str, type[HTTPConnectionPool]]:
    class Bounded:
        """Bounds the wait for the header as a whole, and each block sent, not only the gaps between bytes."""

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            self.sock.settimeout(stall)  # type: ignore[attr-defined]
            if quiet:
                # urllib3 would warn on each connection of what the user asked for.
                self.is_verified = True

        def getresponse(self) -> Any:
            sock = self.sock  # type: ignore[attr-defined]
            patience = self.timeout if isinstance(self.timeout, (int, float)) else stall  # type: ignore[attr-defined]
            # Twice: a silent server is left to the socket's own timeout, which says so more exactly.
            with watchdog.limit(patience * 2, lambda: sock.shutdown(socket.SHUT_RDWR)) as limit:
                try:
                    response = super().getresponse()  # type: ignore[misc]
                except FOREIGN:
                    if limit.expired:
                        raise TimeoutError(_ENDLESS) from None
                    raise
            if limit.expired:
                # Cut off in the middle, a header may still look complete.
                response.close()
                raise TimeoutError(_ENDLESS)
            return response

    class Plain(Bounded, HTTPConnection):
        pass

    class Secure(Bounded, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
