"""Sends one HTTP request and hands back the answer: connection pools, timeouts, proxies. No credentials, no retries."""

from __future__ import annotations

import os
import socket
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ProxyError
from urllib3.util import Timeout

from haulout.http.deadlines import Deadlines
from haulout.http.failures import FOREIGN, ProxyFailure, blames_proxy, note_authorities
from haulout.http.lines import BoundedResponse
from haulout.http.log import Exchange
from haulout.http.messages import SLOWED_BLOCK, Reply
from haulout.http.origin import Origin
from haulout.http.proxies import find_proxy, make_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from haulout.http.messages import Meter, Request
    from haulout.http.options import HttpOptions
    from haulout.http.proxies import Proxy
    from haulout.http.tls import TlsProfile

POOL_SIZE: Final = 16
"""Idle connections kept per host: as many as a pull has threads."""
_SEND_BLOCK: Final = 256 * 1024
_ENDLESS: Final = "the answer does not end its header"

_SOCKET_OPTIONS: Final = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        [(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)]
        if hasattr(socket, "TCP_KEEPIDLE")
        else []
    ),
]


class Transport:
    """Connection pools shared by all threads and repositories. Close it when done.

    Args:
        options: deadlines, and the name of the program.
        environment: in place of ``os.environ``: proxies.
        on_sent: called each time a request has been sent and its answer is awaited, from any thread.
    """

    def __init__(
        self,
        options: HttpOptions,
        environment: Mapping[str, str] | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> None:
        self.options = options
        self._on_sent = on_sent
        self.environment = os.environ if environment is None else environment
        self._deadlines = Deadlines()
        self._lock = Lock()
        self._managers: dict[tuple[str, TlsProfile, Proxy | None], urllib3.PoolManager] = {}

    def send(
        self, request: Request, profile: TlsProfile, meter: Meter, *, connect_seconds: float | None = None
    ) -> Reply:
        """Send one request, whose target is a URL; redirects are returned, not followed.

        Raises:
            one of ``failures.FOREIGN``: no answer.
            UsageError: the environment names a proxy that cannot be used.
        """
        origin = Origin.of(request.target)
        proxy = find_proxy(origin, self.environment)
        manager = self._manager(origin.scheme, profile, proxy)
        options = self.options
        timeout = Timeout(
            connect=connect_seconds or options.connect_seconds,
            read=request.answer_seconds or options.stall_seconds,
        )
        # Encodings would change the bytes that digests are about.
        headers = {"User-Agent": options.user_agent, "Accept-Encoding": "identity", **request.headers}
        log = Exchange.begin(request.method, request.target, request.attempt, headers)
        body = request.body() if request.body is not None else None
        if isinstance(body, bytes) and options.on_bytes is not None:
            headers["Content-Length"] = str(len(body))
            body = _whole(body)
        if isinstance(body, bytes):
            _count(len(body), meter, log)
        meter.add(requests=1)
        sent = body if body is None or isinstance(body, bytes) else _counted(body, meter, log, options.on_bytes)
        try:
            response = manager.request(
                request.method,
                request.target,
                body=sent,
                headers=headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except BaseException as error:
            if log is not None:
                log.failed(error)
            note_authorities(error, profile.authorities)
            if proxy is not None and isinstance(error, FOREIGN) and blames_proxy(error, resolves=proxy.resolves):
                raise ProxyFailure(proxy.netloc, proxy.variable) from error
            raise
        finally:
            # Where the server answered before the end, its source is still open.
            if body is not None and not isinstance(body, bytes):
                body.close()
        return Reply(
            response,
            request.target,
            meter=meter,
            deadlines=self._deadlines,
            stall_seconds=options.stall_seconds,
            log=log,
            on_bytes=options.on_bytes,
        )

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            managers = list(self._managers.values())
            self._managers.clear()
        for manager in managers:
            manager.clear()
        self._deadlines.close()

    def _manager(self, scheme: str, profile: TlsProfile, proxy: Proxy | None) -> urllib3.PoolManager:
        key = (scheme, profile, proxy)
        with self._lock:
            found = self._managers.get(key)
            if found is None:
                found = self._managers[key] = self._make(scheme, profile, proxy)
        return found

    def _make(self, scheme: str, profile: TlsProfile, proxy: Proxy | None) -> urllib3.PoolManager:
        # Reading the system's certificates takes longer than all else that is done before the first request.
        is_tls = scheme == "https" or (proxy is not None and proxy.scheme == "https")
        common: dict[str, Any] = {
            "num_pools": 64,
            "maxsize": POOL_SIZE,
            "block": False,
            "blocksize": _SEND_BLOCK,
            "ssl_context": profile.context() if is_tls else None,
        }
        if proxy is None:
            manager = urllib3.PoolManager(**common, socket_options=_SOCKET_OPTIONS)
        else:
            manager = make_manager(proxy, **common)
        bases: tuple[type[Any], type[Any]] = (HTTPConnection, HTTPSConnection)
        if proxy is not None and proxy.is_socks:
            from urllib3.contrib.socks import SOCKSConnection, SOCKSHTTPSConnection  # noqa: PLC0415 - optional

            bases = (SOCKSConnection, SOCKSHTTPSConnection)
        stall = self.options.stall_seconds
        manager.pool_classes_by_scheme = _pool_classes(
            bases, self._deadlines, stall, self._on_sent, quiet=not profile.verify
        )
        return manager


def _count(size: int, meter: Meter, log: Exchange | None) -> None:
    meter.add(sent=size)
    if log is not None:
        log.sent += size


def _whole(body: bytes) -> Generator[bytes, None, None]:
    yield body


def _counted(
    blocks: Generator[bytes, None, None], meter: Meter, log: Exchange | None, on_bytes: Callable[[int], None] | None
) -> Generator[bytes, None, None]:
    for block in blocks:
        step = len(block) if on_bytes is None else SLOWED_BLOCK
        for begin in range(0, len(block), step or 1):
            part = block[begin : begin + step]
            if on_bytes is not None:
                on_bytes(len(part))
            yield part
            _count(len(part), meter, log)


def _pool_classes(
    bases: tuple[type[Any], type[Any]],
    deadlines: Deadlines,
    stall: float,
    on_sent: Callable[[], None] | None,
    *,
    quiet: bool,
) -> dict[str, type[HTTPConnectionPool]]:
    class Bounded:
        """Bounds the wait for the header as a whole, and each block sent, not only the gaps between bytes."""

        response_class = BoundedResponse

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            self.has_served = False
            self.sock.settimeout(stall)  # type: ignore[attr-defined]
            if quiet:
                # urllib3 would warn on each connection of what the user asked for.
                self.is_verified = True

        def _tunnel(self) -> None:
            try:
                super()._tunnel()  # type: ignore[misc]
            except FOREIGN as error:
                # Else nothing tells whether the proxy or the server behind it answers nonsense.
                raise ProxyError("no tunnel", error) from error

        def getresponse(self) -> Any:
            if on_sent is not None:
                on_sent()
            sock = self.sock  # type: ignore[attr-defined]
            patience = self.timeout if isinstance(self.timeout, (int, float)) else stall  # type: ignore[attr-defined]
            # Twice: a silent server is left to the socket's own timeout, which says so more exactly.
            with deadlines.limit(patience * 2, lambda: sock.shutdown(socket.SHUT_RDWR)) as limit:
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
            response.is_reused, self.has_served = self.has_served, True
            return response

    # The bases depend on the proxy.
    plain, secure = (type(base.__name__, (Bounded, base), {}) for base in bases)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = secure

    return {"http": PlainPool, "https": SecurePool}
