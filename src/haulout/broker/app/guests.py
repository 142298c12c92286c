"""What guests ask for: the key broker service protocol 0.4.0 over HTTP, at Trustee's paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from haulout.broker.app.web import (
    JSON,
    LEGACY_COOKIE,
    LEGACY_VERSION,
    RESOURCE,
    Endpoint,
    answer,
    bearer_of,
    body_of,
    client_of,
    cookie_of,
    off_loop,
    path_of,
)
from haulout.broker.protocol import (
    COOKIE,
    MAX_BODY,
    Attestation,
    InvalidMessage,
    Members,
    Rejected,
    Request,
    Trouble,
)
from haulout.broker.sessions import LIFETIME

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

    from haulout.broker.app.broker import Broker
    from haulout.broker.app.legacy import Legacy

AUTH: Final = "/kbs/v0/auth"
ATTEST: Final = "/kbs/v0/attest"

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

    def __init__(self, broker: Broker, legacy: Legacy | None = None) -> None:
        self._broker = broker
        self._legacy = legacy

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
        body = await body_of(http, MAX_BODY)
        if self._legacy is not None and version_of(body) == LEGACY_VERSION:
            return await self._legacy.auth(body, self.client(http))
        request = Request.parse(body)
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
            older = cookie_of(http, LEGACY_COOKIE)
            if self._legacy is not None and older is not None:
                return await self._legacy.attest(older, await body_of(http, MAX_BODY), self.client(http))
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


def version_of(body: bytes) -> object:
    """Return the version that a Request says, whatever it is."""
    try:
        return Members.parse(body, "Request", largest=1 << 16).values.get("version")
    except InvalidMessage:
        return None
