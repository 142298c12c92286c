"""Bearer tokens (distribution, "Token Authentication Specification" and "OAuth2 Token Authentication").

Pure, but for the clock: builds the request for a token and reads the answer, which the caller sends and receives.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from haulout.errors import DeniedError, RegistryError
from haulout.http import Origin, Request, is_local
from haulout.registry.auth.basic import basic
from haulout.registry.auth.scheme import Scheme
from haulout.registry.errcode import failure

if TYPE_CHECKING:
    from collections.abc import Generator

    from haulout.http import Answer
    from haulout.registry.auth.challenge import Challenge
    from haulout.registry.auth.scheme import Flow, Party
    from haulout.registry.options import Credentials

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
        """Return whether it may still be sent."""
        return now < self.expires - _MARGIN


class Bearer(Scheme):
    """Sends a token, which the realm of the challenge gives for the scopes of a request."""

    name: Final = "bearer"

    def __init__(self, party: Party) -> None:
        super().__init__(party)
        self._challenge: Challenge | None = None
        self._wider: frozenset[str] = frozenset()
        self._tokens: dict[frozenset[str], Token] = {}

    @classmethod
    def can_answer(cls, challenge: Challenge) -> bool:
        """Return whether it is a Bearer challenge with a realm."""
        return super().can_answer(challenge) and bool(challenge.parameters.get("realm"))

    def authorize(self, scopes: frozenset[str]) -> Flow:
        """Make the header; a token near its end is replaced first."""
        wanted = scopes | self._wider
        held = self._tokens.get(wanted)
        if held is None or not held.is_fresh(time.monotonic()):
            held = self._tokens[wanted] = yield from self._fetch(wanted)
        return f"Bearer {held.value}"

    def take_up(self, challenge: Challenge, scopes: frozenset[str], refused: str | None) -> bool:
        """Ask for the scopes of the challenge from here on, or give up the token that was refused."""
        self._challenge = challenge
        wanted = scopes | self._wider
        if not challenge.scopes <= wanted and (challenge.is_insufficient_scope or refused is None):
            # The registry knows better what it takes.
            self._wider |= challenge.scopes
            return True
        held = self._tokens.get(wanted)
        if held is not None and refused == f"Bearer {held.value}":
            del self._tokens[wanted]
        return True

    def _fetch(self, scopes: frozenset[str]) -> Generator[Request, Answer, Token]:
        challenge, party = self._challenge, self.party
        assert challenge is not None
        credentials = party.credentials()
        named = challenge.parameters["realm"]
        realm = check_realm(named, party.origin(), party.allowed_hosts, secret=credentials is not None)
        began = time.monotonic()
        answer = yield token_request(challenge, scopes, credentials, party.user_agent)
        if answer.status == 200:
            return parse_token(answer.body, realm, began)
        if answer.status in {400, 401, 403} and not answer.limits_rate:
            reason = "refuses these credentials" if credentials else "gives no token without credentials"
            raise DeniedError(f"{realm.netloc} {reason} ({answer.status})", hint=f"haulout login {party.name}")
        raise failure(answer, f"a token for {party.name}", realm.netloc)


def check_realm(realm: str, registry: Origin, allowed: tuple[str, ...] = (), *, secret: bool = True) -> Origin:
    """Decide whether a realm that the registry named may be asked (CVE-2026-48978 and kin).

    Args:
        realm: its URL.
        registry: who named it.
        allowed: hosts that the user trusts.
        secret: whether credentials are sent along.

    Raises:
        DeniedError: it would carry credentials in plain text, or leads away from TLS, or into this machine's own
            network.
    """
    try:
        origin = Origin.of(realm)
    except RegistryError as exc:
        raise DeniedError(f"{registry.netloc} names a token service that is not a web address") from exc
    if origin.is_among(allowed):
        return origin
    hint = f"if {origin.netloc} is to be trusted, use --allow-host {origin.netloc}"
    if origin.scheme != "https" and (registry.scheme != "http" or (secret and origin.host != registry.host)):
        raise DeniedError(
            f"{registry.netloc} asks for a token from {origin}, which is not https; no credentials are sent there",
            hint=hint,
        )
    if origin.host != registry.host and is_local(origin.host) and not is_local(registry.host):
        raise DeniedError(
            f"{registry.netloc} asks for a token from {origin.netloc}, which is inside this machine's own network; "
            "nothing is sent there",
            hint=hint,
        )
    return origin


def check_redirect(request: Request, realm: Origin, registry: Origin, allowed: tuple[str, ...]) -> None:
    """Decide whether a request for a token may follow the redirect of the realm, its target the new URL.

    Raises:
        DeniedError: it would take credentials to another host or away from TLS, or lead where no realm may be.
    """
    target = Origin.of(request.target)
    has_secret = request.body is not None or "Authorization" in request.headers
    check_realm(request.target, registry, allowed, secret=has_secret)
    is_same = target.host == realm.host and (target.scheme, realm.scheme) != ("http", "https")
    if has_secret and not is_same and not target.is_among(allowed):
        raise DeniedError(
            f"{realm.netloc} redirects the request for a token to {target}; no credentials are sent there",
            hint=f"if {target.netloc} is to be trusted, use --allow-host {target.netloc}",
        )


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
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query, errors="surrogateescape"), ""))
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
