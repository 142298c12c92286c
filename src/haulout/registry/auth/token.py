"""The Bearer token flow (distribution, "Token Authentication Specification" and "OAuth2 Token Authentication").

Pure: builds the request and reads the answer. ``authorizer`` sends it.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from haulout.errors import DeniedError, RegistryError
from haulout.http import Origin, Request, is_local

if TYPE_CHECKING:
    from haulout.registry.auth.challenge import Challenge
    from haulout.registry.options import Credentials

MAX_BODY: Final = 1024 * 1024
SHORTEST_LIFE: Final = 60
"""Seconds a token lives at least: the specification's floor for clients, and its default."""
_LONGEST_LIFE: Final = 24 * 3600
_MARGIN: Final = 5.0
"""Seconds before its end in which a token is no longer used."""


@dataclass(frozen=True, slots=True)
class Token:
    """A Bearer token; ``expires`` on the monotonic clock."""

    value: str = field(repr=False)
    expires: float

    def is_fresh(self, now: float) -> bool:
        """Whether it may still be sent."""
        return now < self.expires - _MARGIN


def basic(credentials: Credentials) -> str:
    """Make the Authorization header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


def check_realm(realm: str, registry: Origin) -> Origin:
    """Decide whether credentials may go to a realm that the registry named (CVE-2026-48978 and kin).

    Raises:
        DeniedError: it would carry them in plain text, or into this machine's own network.
    """
    try:
        origin = Origin.of(realm)
    except RegistryError as exc:
        raise DeniedError(f"{registry.netloc} asks for a token from something that is no web address") from exc
    if origin.scheme != "https" and (registry.scheme != "http" or origin.host != registry.host):
        raise DeniedError(
            f"{registry.netloc} asks for a token from {origin}, which is not https; no credentials are sent there"
        )
    if origin.host != registry.host and is_local(origin.host) and not is_local(registry.host):
        raise DeniedError(
            f"{registry.netloc} asks for a token from {origin.netloc}, which is inside this machine's own network; "
            "nothing is sent there"
        )
    return origin


def token_request(
    challenge: Challenge, scopes: frozenset[str], credentials: Credentials | None, client: str
) -> Request:
    """Build the request for a token.

    Args:
        challenge: a Bearer challenge whose realm has been checked.
        scopes: what the token must allow.
        credentials: who asks; None asks anonymously.
        client: the name this client goes by.
    """
    realm = challenge.parameters["realm"]
    service = challenge.parameters.get("service", "")
    if credentials is not None and credentials.identity_token:
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": client,
            "scope": " ".join(sorted(scopes)),
            "refresh_token": credentials.identity_token,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        encoded = urlencode(form).encode()
        return Request("POST", realm, headers, lambda: encoded)
    parts = urlsplit(realm)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if service:
        query.append(("service", service))
    query += [("scope", scope) for scope in sorted(scopes)]
    headers = {}
    if credentials is not None:
        query.append(("account", credentials.username))
        headers["Authorization"] = basic(credentials)
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))
    return Request("GET", url, headers)


def parse_token(body: bytes, realm: Origin, now: float) -> Token:
    """Read the answer.

    Args:
        body: the answer, already bounded.
        realm: who answered, for the error.
        now: the monotonic clock when the request was sent.

    Raises:
        RegistryError: it is not a token. The answer is never quoted.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise RegistryError(f"{realm.netloc} answers a token request with something that is not JSON") from exc
    value = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    # It becomes a header: no control characters, no line breaks.
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise RegistryError(f"{realm.netloc} answers a token request without a usable token")
    life = document.get("expires_in", SHORTEST_LIFE)
    if isinstance(life, bool) or not isinstance(life, int | float) or not life >= SHORTEST_LIFE:
        life = SHORTEST_LIFE
    return Token(value, now + min(life, _LONGEST_LIFE))
