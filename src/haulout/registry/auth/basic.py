"""Basic authentication (RFC 7617)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from haulout.registry.auth.scheme import Scheme

if TYPE_CHECKING:
    from haulout.registry.auth.challenge import Challenge
    from haulout.registry.auth.scheme import Flow
    from haulout.registry.options import Credentials


def basic(credentials: Credentials) -> str:
    """Make the Authorization header."""
    pair = f"{credentials.username}:{credentials.password}".encode(errors="surrogateescape")
    return "Basic " + base64.b64encode(pair).decode()


class Basic(Scheme):
    """Sends the user name and password with each request."""

    name: Final = "basic"

    def authorize(self, scopes: frozenset[str]) -> Flow:  # noqa: ARG002 - a password allows all that it allows
        """Make the header."""
        credentials = self.party.credentials()
        return None if credentials is None else basic(credentials)
        yield

    def take_up(self, challenge: Challenge, scopes: frozenset[str], refused: str | None) -> bool:  # noqa: ARG002 - as above
        """Return whether there are credentials that were not refused before."""
        credentials = self.party.credentials()
        return credentials is not None and bool(credentials.username) and refused != basic(credentials)
