"""What guests ask for: the key broker service protocol 0.4.0 over HTTP, at Trustee's paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from haulout.broker.app.web import JSON, Endpoint, answer, body_of, client_of, off_loop
from haulout.broker.protocol import (
    COOKIE,
    MAX_BODY,
    Attestation,
    InvalidMessage,
    Rejected,
    Request,
    ResourcePath,
    Trouble,
)
from haulout.broker.sessions import LIFETIME

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

    from haulout.broker.app.broker import Broker

AUTH: Final = "/kbs/v0/auth"
ATTEST: Final = "/kbs/v0/attest"
RESOURCE: Final = "/kbs/v0/resource/{repository}/{type}/{tag}"
_LONGEST_COOKIE: Final = 256

_TEXT: Final = {"type": "string"}
REQUEST_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["version", "tee"],
    "properties": {"version": _TEXT, "tee": _TEXT, "extra-params": {}},
}
ATTESTATION_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["runtime-data", "tee-evidence"],
    "properties": {
        "init-data": {"type": "object"},
        "runtime-data": {
            "type": "object",
            "required": ["nonce", "tee-pubkey"],
            "properties": {"nonce": _TEXT, "tee-pubkey": {"type": "object"}},
        },
        "tee-evidence": {"type": "object", "required": ["primary_evidence"]},
    },
}


class Guests:
    """The operations, for one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the table of operations."""
        bad, late = Trouble.INVALID_REQUEST, Trouble.NO_SESSION
        return (
            Endpoint(
                "POST",
                AUTH,
                self.auth,
                "Begin a session: ask for a challenge",
                body=JSON,
                schema=REQUEST_SCHEMA,
                troubles=(bad, Trouble.AUTH_FAILED),
            ),
            Endpoint(
                "POST",
                ATTEST,
                self.attest,
                "Answer the challenge: send evidence, get a token",
                body=JSON,
                schema=ATTESTATION_SCHEMA,
                troubles=(bad, late),
            ),
            Endpoint(
                "GET",
                RESOURCE,
                self.resource,
                "Get a resource, encrypted to the guest",
                troubles=(late, Trouble.NOT_FOUND),
            ),
        )

    async def auth(self, http: HttpRequest) -> Response:
        """Answer a Request by a Challenge."""
        request = Request.parse(await body_of(http, MAX_BODY))
        cookie, challenge = await off_loop(self._broker.auth, request, self.client(http))
        response = Response(challenge.to_bytes(), media_type=JSON)
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=int(LIFETIME.total_seconds()),
            secure=http.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def attest(self, http: HttpRequest) -> Response:
        """Answer an Attestation by a token."""
        # Before the body is read: without a session there is no reason to.
        cookie = cookie_of(http)
        if cookie is None:
            raise Rejected(Trouble.NO_SESSION, f"the cookie {COOKIE} is missing")
        attestation = await off_loop(Attestation.parse, await body_of(http, MAX_BODY))
        token = await off_loop(self._broker.attest, cookie, attestation, self.client(http))
        return answer({"token": token})

    async def resource(self, http: HttpRequest) -> Response:
        """Answer by a resource."""
        cookie, token = cookie_of(http), bearer_of(http)
        if cookie is None and token is None:
            raise Rejected(Trouble.NO_SESSION, "neither a session's cookie nor a token came with the request")
        path = path_of(http)
        content = await off_loop(self._broker.release, cookie, token, path, self.client(http))
        return Response(content, media_type=JSON)

    def client(self, http: HttpRequest) -> str:
        """Return the guest's address."""
        return client_of(http, forwarded=self._broker.settings.forwarded)


def cookie_of(http: HttpRequest, name: str = COOKIE) -> str | None:
    """Return a session's cookie."""
    value = http.cookies.get(name)
    return value if value and len(value) <= _LONGEST_COOKIE else None


def bearer_of(http: HttpRequest) -> str | None:
    """Return the token of an ``Authorization`` header (RFC 6750)."""
    scheme, _, token = http.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def path_of(http: HttpRequest) -> ResourcePath:
    """Return the name of the resource that a request is about.

    Raises:
        Rejected: it is none.
    """
    try:
        return ResourcePath(*(http.path_params[name] for name in ("repository", "type", "tag")))
    except InvalidMessage as exc:
        raise Rejected(Trouble.NOT_FOUND, str(exc)) from exc
