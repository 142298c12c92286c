"""A broker as its owners reach it: over HTTPS, with a token or a client certificate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

from haulout import http
from haulout.errors import ConflictError, HauloutError, NotFoundError, RegistryError, UsageError
from haulout.http import ACCEPTED, Client, Request, is_loopback
from haulout.local import Table, parse_json, printable
from haulout.registry import ConnectionOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from haulout.http import Answer

MOST: Final = 64 << 20
"""Bytes of an answer read."""
_TOKEN_HINT: Final = "give an owner's token with --token-file, or a client certificate in certs.d"  # noqa: S105


@dataclass(frozen=True, slots=True)
class BrokerAccess:
    """Which broker, and by what its owner is known.

    Attributes:
        url: of the broker: https, or http on this machine.
        token: the owner's; None: a client certificate in certs.d says who it is.
        plain_http: send the token over plain HTTP even to another machine.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    plain_http: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
            raise UsageError(f"not the URL of a broker: {printable(self.url)[:80]!r}", hint="https://HOST[:PORT]")
        if parts.scheme == "http" and not (self.plain_http or is_loopback(parts.hostname)):
            raise UsageError(
                f"{self.url} is not HTTPS: the token could be read on the way", hint="use https, or --plain-http"
            )


class OwnersApi:
    """The API of owners. Close it when done.

    Args:
        access: which broker.
        connections: certificates, deadlines and attempts.
    """

    def __init__(self, access: BrokerAccess, connections: ConnectionOptions | None = None) -> None:
        self._access = access
        self._client = Client(connections or ConnectionOptions(), failure=_failure)

    def get(self, what: str, *path: str, **query: str | int | None) -> bytes:
        """Get something.

        Args:
            what: what is asked, to begin errors with.
            path: below ``/v1``.
            query: parameters; None: left out.

        Raises:
            HauloutError: it cannot be had.
        """
        return self._send("GET", what, path, query).body

    def document(self, what: str, *path: str, **query: str | int | None) -> Table:
        """Get a JSON object."""
        return read_object(self.get(what, *path, **query), what)

    def lines(self, what: str, *path: str, **query: str | int | None) -> Iterator[Table]:
        """Get JSON lines."""
        for line in self.get(what, *path, **query).splitlines():
            yield read_object(line, what)

    def listed(self, what: str, *path: str, **query: str | int | None) -> tuple[Table, ...]:
        """Get a list of JSON objects."""
        return read_object(b'{"list":' + self.get(what, *path, **query) + b"}", what).tables("list")

    def put(self, what: str, *path: str, body: bytes = b"", kind: str = "application/json", attempts: int = 1) -> bytes:
        """Put something; return the answer. It is sent once, unless it may be sent again."""
        return self._send("PUT", what, path, {}, body=body, kind=kind, attempts=attempts).body

    def delete(self, what: str, *path: str) -> None:
        """Delete something."""
        self._send("DELETE", what, path, {}, attempts=1)

    def _send(
        self,
        method: str,
        what: str,
        path: tuple[str, ...],
        query: Mapping[str, str | int | None],
        *,
        body: bytes | None = None,
        kind: str = "",
        attempts: int | None = None,
    ) -> Answer:
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        place = "/".join(quote(part, safe="") for part in path)
        url = f"{self._access.url.rstrip('/')}/v1/{place}{f'?{asked}' if asked else ''}"
        headers = {"Accept": "*/*"}
        if self._access.token is not None:
            headers["Authorization"] = f"Bearer {self._access.token}"
        if body is not None:
            headers["Content-Type"] = kind
        request = Request(method, url, headers, None if body is None else lambda: body)
        counted = self._client.attempts(what, attempts)
        return self._client.read(request, what=what, most=MOST, accept=ACCEPTED, attempts=counted)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()


def read_object(data: bytes, what: str) -> Table:
    """Read a JSON object that a broker sent.

    Raises:
        RegistryError: it is none, or has not what is expected of it.
    """

    def wrong(where: str, reason: str, *, hint: str | None = None) -> RegistryError:  # noqa: ARG001
        return RegistryError(f"{what}: the broker's answer is not as expected: {where} {reason}")

    return parse_json(data, wrong)


def _failure(answer: Answer, what: str, host: str, sender: str = "") -> HauloutError:
    said = _detail(answer.body)
    if said and not sender and not answer.limits_rate:
        match answer.status:
            case 400 | 413:
                return UsageError(f"{what}: {said}")
            case 404:
                return NotFoundError(f"{what}: {said}")
            case 409:
                return ConflictError(f"{what}: {said}")
    return http.failure(answer, what, host, sender, details=said, login=_TOKEN_HINT)


def _detail(body: bytes) -> str:
    """Return what a problem (RFC 7807) says, fit to be shown; "" where it is none."""

    def wrong(where: str, reason: str, *, hint: str | None = None) -> HauloutError:  # noqa: ARG001
        return HauloutError(reason)

    try:
        found: Any = parse_json(body, wrong).take("detail")
    except HauloutError:
        return ""
    return printable(found)[:500] if isinstance(found, str) else ""
