"""Remembers how one repository's host wants to be convinced, and what convinced it."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING

from haulout.registry.auth import token
from haulout.registry.auth.challenge import Challenge, choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.registry.options import Credentials

    FetchToken = Callable[[Challenge, frozenset[str], Credentials | None], token.Token]


class Authorizer:
    """Makes Authorization headers, for one origin only. Safe to use from several threads."""

    def __init__(self, find_credentials: Callable[[], Credentials | None]) -> None:
        """Begin knowing nothing; ``find_credentials`` is called once, when first needed: helpers are programs."""
        self._find = find_credentials
        self._lock = Lock()
        self._found: tuple[Credentials | None] | None = None
        self._challenge: Challenge | None = None
        self._wider: frozenset[str] = frozenset()
        self._tokens: dict[frozenset[str], token.Token] = {}

    def header(self, scopes: frozenset[str], fetch: FetchToken) -> str | None:
        """Make the header for a request, None before any challenge.

        A token near its end is replaced first, by one thread for all.

        Args:
            scopes: what a token must allow.
            fetch: asks the realm.
        """
        with self._lock:
            if self._challenge is None:
                return None
            if self._challenge.scheme == "basic":
                credentials = self._credentials()
                return None if credentials is None else token.basic(credentials)
            wanted = scopes | self._wider
            held = self._tokens.get(wanted)
            if held is None or not held.is_fresh(time.monotonic()):
                held = self._tokens[wanted] = fetch(self._challenge, wanted, self._credentials())
            return f"Bearer {held.value}"

    def answer(self, status: int, offered: tuple[Challenge, ...], sent: str | None, scopes: frozenset[str]) -> bool:
        """Take up a challenge.

        Args:
            status: 401, or 403 for a scope that is missing.
            offered: the challenges.
            sent: the Authorization header that was refused.
            scopes: as for :meth:`header`.

        Returns:
            Whether the request is worth repeating.
        """
        chosen = choose(offered)
        if chosen is None or (status == 403 and not chosen.is_insufficient_scope):
            return False
        with self._lock:
            self._challenge = chosen
            if chosen.scheme == "basic":
                credentials = self._credentials()
                # What was refused once is refused again.
                return credentials is not None and bool(credentials.username) and sent != token.basic(credentials)
            wanted = scopes | self._wider
            if not chosen.scopes <= wanted and (chosen.is_insufficient_scope or sent is None):
                # The registry knows better what it takes.
                self._wider |= chosen.scopes
                return True
            held = self._tokens.get(wanted)
            if held is not None and sent == f"Bearer {held.value}":
                del self._tokens[wanted]
            return True

    @property
    def has_credentials(self) -> bool:
        """Whether credentials were looked for and found."""
        return self._found is not None and self._found[0] is not None

    def _credentials(self) -> Credentials | None:
        if self._found is None:
            self._found = (self._find(),)
        return self._found[0]
