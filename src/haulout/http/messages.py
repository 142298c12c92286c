"""What is sent and what comes back: requests, open replies, answers read whole, and the count of their bytes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Self

from haulout.errors import RegistryError
from haulout.http.failures import FOREIGN
from haulout.http.origin import Origin
from haulout.progress import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import urllib3

    from haulout.http.deadlines import Deadlines
    from haulout.http.log import Exchange

MAX_ERROR: Final = 1024 * 1024
"""Bytes of an error's body read."""
_SLOWEST: Final = 4 * 1024
"""Bytes per second below which a transfer counts as stalled."""
_REMAINING: Final = ("x-ratelimit-remaining", "ratelimit-remaining")
_LIMITED: Final = re.compile(rb"rate.?limit|rate exceeded|too.?many.?requests|throttl", re.IGNORECASE)
SLOWED_BLOCK: Final = 16 * 1024
"""Bytes told at a time to one who may slow the transfer."""
_DRAIN: Final = 64 * 1024
"""Unread bytes up to which finishing an answer is cheaper than a new connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    target: str
    """A URL; callers that know their host also take a path of it."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Callable[[], bytes | Generator[bytes, None, None]] | None = field(default=None, repr=False)
    """Makes the body anew for each attempt; a generator is closed when the answer is there."""
    answer_seconds: float | None = None
    """Longest silence before the answer; None is the usual one."""
    attempt: int = 1
    """Which attempt it is, for the log."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body has been read."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive where a server sent them."""
    body: bytes = field(default=b"", repr=False)
    url: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        """``host[:port]`` of the server."""
        return Origin.of(self.url).netloc

    @property
    def phrase(self) -> str:
        """The status with its name, such as ``404 Not Found``."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)

    @property
    def is_web_page(self) -> bool:
        """Whether a page for people came in place of the protocol: a proxy or a login form answered."""
        content_type = self.headers.get("content-type", "")
        return content_type.partition(";")[0].strip().lower() in {"text/html", "application/xhtml+xml"}

    @property
    def limits_rate(self) -> bool:
        """Whether it is about the number of requests, not about permission: some say so with 403, others with 429."""
        if self.status == 429:
            return True
        headers = self.headers
        is_spent = any(headers.get(name, "").strip() == "0" for name in _REMAINING)
        said = _LIMITED.search(self.body[:4096]) is not None
        return self.status == 403 and ("retry-after" in headers or is_spent or said)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait."""
        return parse_retry_after(self.headers.get("retry-after"))

    def json_object(self, what: str) -> dict[str, Any]:
        """Parse the body.

        Raises:
            RegistryError: it is not a JSON object. It is never quoted.
        """
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError) as exc:
            raise RegistryError(f"{what}: {self.host} does not answer with JSON", status=self.status) from exc
        if not isinstance(document, dict):
            raise RegistryError(f"{what}: {self.host} does not answer with a JSON object", status=self.status)
        return document


class Meter:
    """Counts what crosses the wire, from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests = self._received = self._sent = 0

    def add(self, *, requests: int = 0, received: int = 0, sent: int = 0) -> None:
        """Count requests and body bytes."""
        with self._lock:
            self._requests += requests
            self._received += received
            self._sent += sent

    @property
    def traffic(self) -> Traffic:
        """The sums so far."""
        with self._lock:
            return Traffic(self._requests, self._received, self._sent)


class Reply:
    """An answer whose body is still to be read. Close it; an unread rest closes the connection."""

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        url: str,
        *,
        meter: Meter,
        deadlines: Deadlines,
        stall_seconds: float,
        log: Exchange | None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self._response = response
        self._meter = meter
        self._deadlines = deadlines
        self._stall_seconds = stall_seconds
        self._log = log
        self._on_bytes = on_bytes
        self._is_too_slow = False
        self._broken: BaseException | None = None
        self.url = url
        self.status = response.status
        self.headers = response.headers
        """Case-insensitive; repeated headers are joined by commas."""

    @property
    def host(self) -> str:
        """``host[:port]`` of the server."""
        return Origin.of(self.url).netloc

    @property
    def length(self) -> int | None:
        """Content-Length, or None where it is absent or nonsense."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def read(self, amount: int) -> bytes:
        """Read up to ``amount`` bytes; fewer only at the end or where the connection broke.

        Raises:
            one of ``failures.FOREIGN``: the connection failed or is slower than 4 KiB/s.
        """
        if self._on_bytes is None:
            return self._read(amount)
        # In small parts, so that whoever slows the transfer never lets it seem dead to the server.
        parts: list[bytes] = []
        while amount:
            if self._broken is not None:
                raise self._broken
            try:
                part = self._read(min(amount, SLOWED_BLOCK))
            except FOREIGN as error:
                if not parts:
                    raise
                # What did come is good, and was waited for.
                self._broken = error
                break
            if not part:
                break
            parts.append(part)
            amount -= len(part)
            self._on_bytes(len(part))
        return b"".join(parts)

    def _read(self, amount: int) -> bytes:
        allowed = self._stall_seconds + amount / _SLOWEST
        with self._deadlines.limit(allowed, self._response.shutdown) as limit:
            try:
                data = self._response.read(amount, decode_content=False)
            except FOREIGN:
                if limit.expired or self._is_too_slow:
                    raise TimeoutError("the transfer is too slow") from None
                raise
        # What did come is good; the next read finds the connection shut. Only now can the limit no longer expire.
        self._is_too_slow = limit.expired
        self._meter.add(received=len(data))
        if self._log is not None:
            self._log.received += len(data)
        return data

    def blocks(self, limit: int, what: str) -> Generator[bytes, None, None]:
        """Yield the body in blocks, at most ``limit`` bytes in all; close it afterwards.

        Raises:
            RegistryError: it is longer, or encoded.
            one of ``failures.FOREIGN``: the connection failed.
        """
        self.refuse_encoding(what)
        if self.length is not None and self.length > limit:
            raise RegistryError(f"{what}: {self.host} sends {self.length} bytes; at most {limit} are accepted")
        size = 0
        while size <= limit and (part := self.read(min(_DRAIN, limit + 1 - size))):
            size += len(part)
            if size > limit:
                raise RegistryError(f"{what}: {self.host} sends more than the {limit} bytes that are accepted")
            yield part

    def body(self, limit: int, what: str) -> bytes:
        """Read the whole body, at most ``limit`` bytes, which are never exceeded in memory; as :meth:`blocks`."""
        return b"".join(self.blocks(limit, what))

    def refuse_encoding(self, what: str) -> None:
        """Refuse a body in another encoding than its own bytes: digests and ranges would be about something else.

        Raises:
            RegistryError: Content-Encoding is there and is not identity.
        """
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            raise RegistryError(
                f"{what}: {self.host} sends it encoded as {encoding[:40]!r}, though asked not to",
                hint="something between compresses answers; it must leave this traffic alone",
            )

    def take_failure(self) -> Answer:
        """Read the body of a failed answer, as far as it is worth, and close."""
        try:
            body = self.body(MAX_ERROR, "the error")
        except (RegistryError, *FOREIGN):
            body = b""
        finally:
            self.close()
        return Answer(self.status, self.headers, body, self.url)

    def close(self) -> None:
        """Give the connection back, or drop it where too much is unread."""
        rest = getattr(self._response, "length_remaining", None)
        try:
            if rest is not None and rest <= _DRAIN:
                if rest:
                    self.read(rest)
                self._response.drain_conn()
                self._response.release_conn()
            else:
                self._response.close()
        except FOREIGN:
            self._response.close()
        if self._log is not None:
            self._log.ended(self._response)
            self._log = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Read a Retry-After header (RFC 9110 §10.2.3): seconds, or a date.

    Returns:
        Seconds from ``now``, at least 0; None where there is none or it is neither form.
    """
    text = (value or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
