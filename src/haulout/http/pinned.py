"""HTTPS to a server that is known by its public key: names, authorities and proxies have no say.

For a guest that starts before it has a root file system: it needs the standard library and ``cryptography`` alone.
"""

from __future__ import annotations

import hmac
import ssl
from contextlib import closing
from http.client import HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Final, NamedTuple

from haulout.errors import UnreachableError
from haulout.extras import require
from haulout.http.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST: Final = 4 << 20
"""Bytes of an answer that are read."""


class WrongServerKey(UnreachableError):  # noqa: N818 - named as its siblings in haulout.errors
    """A server that holds another key than the one it is known by; nothing was sent to it."""

    def __init__(self, server: str) -> None:
        self.server = server
        super().__init__(
            f"{server} does not hold the key that this server is known by",
            hint="another server answers at this address, or the key was replaced",
        )


class PinnedAnswer(NamedTuple):
    """An answer: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class PinnedServer:
    """A server, asked over one connection for each request. Redirects are answers like others.

    Args:
        url: of the server, beginning with ``https://``; a path in it goes before those that are asked for.
        key: its SubjectPublicKeyInfo in DER, the one that its certificate has to hold.
        seconds: for connecting, and for each wait for its answer.

    Raises:
        UnreachableError: the URL is not one of HTTPS.
    """

    def __init__(self, url: str, key: bytes, *, seconds: float = 30.0) -> None:
        self._origin = Origin.of(url)
        if self._origin.scheme != "https":
            raise UnreachableError(f"{self._origin} is not asked over plain HTTP", hint="use an https:// URL")
        self._path = url.partition("://")[2].partition("/")[2].rstrip("/")
        self._key = key
        self._seconds = seconds

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> PinnedAnswer:
        """Send a request, after the server has proved that it holds the key.

        Raises:
            WrongServerKey: it holds another.
            UnreachableError: no connection, no TLS, no answer in time, or one that is too large.
        """
        # The handshake proves possession of the certificate's key, whoever signed the certificate.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = HTTPSConnection(self._origin.host, self._origin.port, timeout=self._seconds, context=context)
        prefix = f"/{self._path}" if self._path else ""
        try:
            with closing(connection):
                connection.connect()
                self._require_key(connection.sock.getpeercert(binary_form=True))
                connection.request(method, prefix + path, body, dict(headers or {}))
                answer = connection.getresponse()
                found = answer.read(LARGEST + 1)
                names = {name.lower(): value for name, value in answer.getheaders()}
        except (OSError, HTTPException) as exc:
            raise UnreachableError(f"no answer from {self._origin}: {str(exc) or type(exc).__name__}") from exc
        if len(found) > LARGEST:
            raise UnreachableError(f"the answer of {self._origin} has more than {LARGEST} bytes")
        return PinnedAnswer(answer.status, names, found)

    def _require_key(self, certificate: bytes | None) -> None:
        if certificate is None or not hmac.compare_digest(public_key_of(certificate), self._key):
            raise WrongServerKey(str(self._origin))


def public_key_of(certificate: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo (DER) of a certificate in DER; b"" where it cannot be read."""
    require("cryptography")
    from cryptography import x509  # noqa: PLC0415 - for those who ask alone
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except ValueError:
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
