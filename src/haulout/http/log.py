"""The request log: one line for each request to the logger ``haulout.http``, and one for each of its headers.

Bodies are never logged. Of URLs and headers only what is known to be harmless is shown; all else is blanked,
since the names of signatures, tokens and cookies cannot all be known. (urllib3 logs whole URLs to its own logger,
``urllib3.connectionpool``: leave that one off.)
"""

from __future__ import annotations

import itertools
import logging
import re
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from haulout.http.failures import innermost
from haulout.http.origin import redact
from haulout.local import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3

LOG: Final = logging.getLogger("haulout.http")
BLANK: Final = "***"

_NUMBERS: Final = itertools.count(1)
_PARAMETERS: Final = frozenset({"artifacttype", "digest", "from", "last", "mount", "n", "scope", "service"})
"""Parameters of a query that are shown; of all others, names and values may be secrets."""
_SIGNATURE: Final = r"(?i:x-(?:amz|goog)-[a-z-]{1,30}|sig|signature|token|_state|expires)"
"""Parameters of a query whose names are shown."""
_HEADERS: Final = frozenset(
    """
    accept accept-encoding accept-ranges age allow cache-control connection content-encoding content-length
    content-range content-type date docker-content-digest docker-distribution-api-version etag expect keep-alive
    last-modified oci-chunk-min-length oci-filters-applied oci-subject oci-tag range ratelimit-limit
    ratelimit-remaining retry-after server transfer-encoding user-agent vary via warning x-cache
    """.split()  # noqa: SIM905 - a list of words
)
_ADDRESSES: Final = frozenset({"content-location", "location"})
_CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization"})
_SCHEME: Final = r"(?i:basic|bearer|digest|negotiate)(?= )"
_CHALLENGE: Final = r'(?i:\b(realm|service|scope|error)="([^"]*)")'
_LONGEST: Final = 1000


class Exchange:
    """One request under way."""

    def __init__(self, request: str, attempt: int, headers: Mapping[str, str]) -> None:
        self._request = request
        self._attempt = attempt
        self._headers = headers
        self._began = time.monotonic()
        self.sent = 0
        self.received = 0

    @classmethod
    def begin(cls, method: str, url: str, attempt: int, headers: Mapping[str, str]) -> Exchange | None:
        """Begin to measure a request; None where the log is off."""
        return cls(f"{method} {shown_url(url)}", attempt, headers) if LOG.isEnabledFor(logging.DEBUG) else None

    def failed(self, error: BaseException) -> None:
        """Log a request that got no answer."""
        # Texts of exceptions may quote the URL.
        self._write(f"no answer ({type(innermost(error)).__name__})", "", {})

    def ended(self, response: urllib3.BaseHTTPResponse) -> None:
        """Log a request whose answer has been closed."""
        connection = ", reused connection" if getattr(response, "is_reused", False) else ", new connection"
        self._write(str(response.status), connection, response.headers)

    def _write(self, outcome: str, connection: str, headers: Mapping[str, str]) -> None:
        number = next(_NUMBERS)
        LOG.debug(
            "#%d %s: %s, sent %d bytes, received %d bytes, %.3f s, attempt %d%s",
            number,
            self._request,
            outcome,
            self.sent,
            self.received,
            time.monotonic() - self._began,
            self._attempt,
            connection,
        )
        for mark, several in (">", self._headers), ("<", headers):
            for name, value in several.items():
                LOG.debug("#%d %s %s: %s", number, mark, printable(name, longest=100), shown_header(name, value))


def shown_url(url: str) -> str:
    """Return a URL without user, without fragment, and with its query blanked but for parameters known as harmless."""
    head, mark, query = url.partition("#")[0].partition("?")
    shown = [_shown_parameter(part) for part in query.split("&")] if mark else []
    return redact(head, longest=_LONGEST) + mark + printable("&".join(shown), longest=_LONGEST)


def _shown_parameter(part: str) -> str:
    name, is_assigned, _ = part.partition("=")
    if is_assigned and unquote_plus(name).lower() in _PARAMETERS:
        return part
    return f"{name}={BLANK}" if is_assigned and re.fullmatch(_SIGNATURE, name) else BLANK


def shown_header(name: str, value: str) -> str:
    """Return a header's value, blanked unless it is known as harmless."""
    key = name.lower()
    if key in _HEADERS:
        return printable(value)
    if key in _ADDRESSES:
        return shown_url(value)
    if key == "link":
        return ", ".join(f"<{shown_url(target)}>" for target in re.findall(r"<([^>]*)>", value))
    if key == "www-authenticate":
        scheme = re.match(_SCHEME, value)
        parts = (f'{one[1]}="{shown_url(one[2])}"' for one in re.finditer(_CHALLENGE, value))
        return f"{scheme[0] if scheme else BLANK} {','.join(parts)}".rstrip()
    scheme = re.match(_SCHEME, value) if key in _CREDENTIALS else None
    return f"{scheme[0]} {BLANK}" if scheme else BLANK
