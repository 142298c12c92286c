"""HTTP: bodies that are bounded, answers, and the problems that stand for whatever goes wrong."""

from __future__ import annotations

import ipaddress
import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from haulout.broker.protocol import COOKIE, MEDIA_TYPE, STATUS, InvalidMessage, Problem, Rejected, ResourcePath, Trouble
from haulout.broker.stores import SealError, StoreError, Taken, Unknown
from haulout.errors import ContentError, HauloutError, UsageError
from haulout.oci import json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    Handler = Callable[[Request], Awaitable[Response]]

LOG: Final = logging.getLogger("haulout.broker")
JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
RESOURCE: Final = "/kbs/v0/resource/{repository}/{type}/{tag}"
LEGACY_VERSION: Final = "0.0.0"
"""Of the protocol of libkrun up to 1.19; see ``legacy``."""
LEGACY_COOKIE: Final = "session_id"
_LONGEST_COOKIE: Final = 256


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation: what routes it, and what the OpenAPI document says of it.

    Attributes:
        summary: one line.
        body: media type of what is sent; None: nothing is.
        schema: of what is sent.
        answer: media type of what is answered.
        status: of a good answer.
        owner: whether an owner has to prove to be one.
        troubles: what else may be answered.
        query: names of optional parameters of the query.
    """

    method: str
    path: str
    handler: Handler = field(repr=False)
    summary: str
    body: str | None = None
    schema: Mapping[str, Any] | None = None
    answer: str | None = JSON
    status: int = 200
    owner: bool = False
    troubles: tuple[Trouble, ...] = ()
    query: tuple[str, ...] = ()


def routes_of(endpoints: tuple[Endpoint, ...]) -> list[Route]:
    """Return the routes: one for each path, so that another method is answered by 405."""
    found: dict[str, list[Endpoint]] = {}
    for one in endpoints:
        found.setdefault(one.path, []).append(one)
    return [Route(path, _dispatch(rows), methods=[row.method for row in rows]) for path, rows in found.items()]


def _dispatch(rows: list[Endpoint]) -> Handler:
    handlers = {row.method: row.handler for row in rows}

    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return handle


async def body_of(request: Request, largest: int) -> bytes:
    """Read a body. How long it may take is bounded in front of the application.

    Raises:
        Rejected: it is larger, or the client went away.
    """
    parts, size = [], 0
    too_large = Rejected(Trouble.TOO_LARGE, f"at most {largest} bytes are read")
    # Where the length is announced (the server saw to it that it is a number), the body need not come first.
    if int(request.headers.get("content-length", 0)) > largest:
        raise too_large
    try:
        async for part in request.stream():
            size += len(part)
            if size > largest:
                raise too_large
            parts.append(part)
    except ClientDisconnect as exc:
        raise Rejected(Trouble.INVALID_REQUEST, "the client went away") from exc
    return b"".join(parts)


def client_of(request: Request, *, forwarded: bool) -> str:
    """Return the address of a client.

    Args:
        request: its request.
        forwarded: whether the last address in X-Forwarded-For, which the proxy wrote, is believed.
    """
    values = request.headers.getlist("x-forwarded-for") if forwarded else []
    # A proxy may add a header of its own after the client's.
    given = values[-1].rpartition(",")[2].strip() if values else ""
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        return request.client.host if request.client else ""


def cookie_of(http: Request, name: str = COOKIE) -> str | None:
    """Return a session's cookie."""
    value = http.cookies.get(name)
    return value if value and len(value) <= _LONGEST_COOKIE else None


def bearer_of(http: Request) -> str | None:
    """Return the token of an ``Authorization`` header (RFC 6750)."""
    scheme, _, token = http.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def path_of(http: Request) -> ResourcePath:
    """Return the name of the resource that a request is about.

    Raises:
        Rejected: it is none.
    """
    try:
        return ResourcePath(*(http.path_params[name] for name in ("repository", "type", "tag")))
    except InvalidMessage as exc:
        raise Rejected(Trouble.NOT_FOUND, str(exc)) from exc


def answer(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(json.dumps(document), status, headers, JSON)


async def off_loop(function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """Call what computes or waits for the database in a thread of its own."""
    return await run_in_threadpool(function, *arguments, **more)


_KINDS: Final[tuple[tuple[type[Exception], Trouble], ...]] = (
    (InvalidMessage, Trouble.INVALID_REQUEST),
    (Unknown, Trouble.NOT_FOUND),
    (Taken, Trouble.CONFLICT),
    (StoreError, Trouble.UNAVAILABLE),
    (SealError, Trouble.UNAVAILABLE),
    (UsageError, Trouble.INVALID_REQUEST),
    (ContentError, Trouble.INVALID_REQUEST),
)
_BY_STATUS: Final = {404: Trouble.NOT_FOUND, 405: Trouble.METHOD}
_HIDDEN: Final = "the broker cannot answer now; its log has the reason under the id of this request"


def rejection(exc: Exception) -> Rejected:
    """Return what is answered instead: details of the broker itself are not."""
    if isinstance(exc, Rejected):
        return exc
    if isinstance(exc, HTTPException):
        return Rejected(_BY_STATUS.get(exc.status_code, Trouble.INVALID_REQUEST), exc.detail)
    for kind, trouble in _KINDS:
        if isinstance(exc, kind):
            shown = trouble is not Trouble.UNAVAILABLE
            return Rejected(trouble, str(exc) if shown else _HIDDEN, retry_after=None if shown else 1)
    return Rejected(Trouble.UNAVAILABLE, _HIDDEN, retry_after=1)


def problem(rejected: Rejected, request: str) -> Response:
    """Return the answer that a problem is (RFC 7807)."""
    headers = {} if rejected.retry_after is None else {"retry-after": str(rejected.retry_after)}
    if rejected.trouble is Trouble.NOT_ALLOWED:
        headers["www-authenticate"] = "Bearer"
    document = Problem(rejected.trouble, rejected.detail, f"urn:haulout:request:{request}")
    return Response(document.to_bytes(), STATUS[rejected.trouble], headers, MEDIA_TYPE)


class Answering:
    """Middleware that answers whatever is raised by a problem.

    The id of the request is in ``scope["state"]["request"]``, given by whatever stands in front, or here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = scope.setdefault("state", {}).setdefault("request", secrets.token_hex(8))
        begun = False

        async def forward(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, forward)
        except (HauloutError, Rejected, HTTPException) as exc:
            rejected = rejection(exc)
            if rejected.trouble is Trouble.UNAVAILABLE:
                LOG.warning("unavailable", extra={"reason": str(exc)})
            if begun:
                raise
            await problem(rejected, name)(scope, receive, forward)
        except Exception as exc:
            LOG.exception("failed")
            if begun:
                raise
            await problem(rejection(exc), name)(scope, receive, forward)
