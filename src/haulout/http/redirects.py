"""Redirects: how many are followed, where they may lead, and what does not go along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from haulout.errors import DeniedError, RegistryError
from haulout.http.origin import Origin, is_local, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from haulout.http.messages import Reply
    from haulout.http.tls import TlsProfile

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS: Final = 5
PORTABLE_HEADERS: Final = frozenset({"accept", "range"})
"""Headers of a request that may go to another origin: any other may hold a secret."""


class Hops:
    """Counts the redirects of one request.

    Args:
        what: what is asked, to begin errors with.
        host: the server asked first, as the user spells it.
    """

    def __init__(self, what: str, host: str) -> None:
        self._what = what
        self._host = host
        self._count = 0

    def next(self, reply: Reply) -> str:
        """Close a redirect and return the absolute URL that it names.

        Raises:
            RegistryError: there are too many, or it names none.
        """
        reply.close()
        self._count += 1
        if self._count > MAX_REDIRECTS:
            raise RegistryError(f"{self._what}: {self._host} redirects more than {MAX_REDIRECTS} times")
        return location(reply)


class Targets:
    """Origins that redirects may lead to, with how to meet each. Names are resolved once, not once per request.

    Args:
        profile: decides how to meet an origin.
    """

    def __init__(self, profile: Callable[[Origin], TlsProfile], allowed: Collection[str] = ()) -> None:
        self._profile = profile
        self._allowed = allowed
        self._vetted: dict[tuple[Origin, Origin], TlsProfile] = {}

    def profile(self, here: Origin, there: Origin, host: str) -> TlsProfile:
        """Return how to meet ``there``, where ``here``, called ``host``, redirects to.

        Raises:
            DeniedError: it leads into this machine's own network, or away from TLS.
        """
        found = self._vetted.get((here, there))
        if found is not None:
            return found
        hint = f"if {there.netloc} is to be trusted, use --allow-host {there.netloc}"
        if there.is_among(self._allowed):
            pass
        elif here.scheme == "https" and there.scheme != "https":
            raise DeniedError(f"{host} redirects from https to {there}; content is not fetched without TLS", hint=hint)
        elif there.host != here.host and is_local(there.host) and not is_local(here.host):
            raise DeniedError(f"{host} redirects into this machine's own network, to {there.netloc}", hint=hint)
        found = self._vetted[here, there] = self._profile(there)
        return found


def location(reply: Reply) -> str:
    """Return the absolute URL of a Location header."""
    return resolve_location(reply.url, reply.headers.get("location", ""))


def resolve_location(base: str, target: str) -> str:
    """Make a Location header absolute, kept verbatim otherwise.

    Raises:
        RegistryError: it is missing or is not a URL.
    """
    if not target:
        raise RegistryError(f"{redact(base)} redirects without saying where")
    try:
        return urljoin(base, target)
    except ValueError as exc:
        raise RegistryError(f"not a usable URL: {redact(target)!r}") from exc
