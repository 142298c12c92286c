"""HTTPS for the independent clients of the key broker: the standard library alone, one connection that stays open."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECONDS = 240.0


@dataclass(frozen=True)
class Answer:
    """What a broker answered; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)
    cookies: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The last part of the problem's type."""
        return str(self.json["type"]).rpartition("/")[2]


class Wire:
    """A connection to a broker. It keeps cookies, as clients do, and connects again where the broker closed it."""

    def __init__(self, url: str, ca: Path | None = None, *, seconds: float = SECONDS) -> None:
        self.url = urlsplit(url)
        self.seconds = seconds
        self.tls = None
        if self.url.scheme == "https":
            self.tls = ssl.create_default_context(cafile=str(ca) if ca else None)
        self.cookies: dict[str, str] = {}
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def connect(self) -> http.client.HTTPConnection:
        assert self.url.hostname is not None
        if self.tls is None:
            return http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=self.seconds)
        return http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=self.seconds, context=self.tls)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request as it is; a connection that was closed meanwhile is opened again, once."""
        fresh = self._connection is None
        if self._connection is None:
            self._connection = self.connect()
        try:
            self._connection.request(method, path, body, dict(headers or {}))
            # Closed whatever happens: where the server closes the connection, it is the answer that has the socket.
            with self._connection.getresponse() as answer:
                content = answer.read()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if fresh:
                raise
            return self.send(method, path, body, headers)
        except BaseException:
            self.close()
            raise
        if answer.will_close:
            self.close()
        jar: SimpleCookie = SimpleCookie()
        for line in answer.headers.get_all("set-cookie") or ():
            jar.load(line)
        found = {name: morsel.value for name, morsel in jar.items()}
        self.cookies |= found
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content, found)

    def post(self, path: str, document: Any, **headers: str) -> Answer:
        """Post JSON, with the cookies."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.send("POST", path, body, {"Content-Type": "application/json", **self._cookie(), **headers})

    def get(self, path: str, **headers: str) -> Answer:
        """Get something, with the cookies."""
        return self.send("GET", path, None, {**self._cookie(), **headers})

    def _cookie(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
