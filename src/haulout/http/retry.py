"""Whether and when to try again: a pure decision."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRIABLE: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that may be different a moment later. No other 4xx is: asking again would only be rude."""

FIRST_WAIT: Final = 0.25
LONGEST_BACKOFF: Final = 16.0
LONGEST_RETRY_AFTER: Final = 60.0
"""Longest wait, in seconds, that a server may impose; asked for more, we say so and give up."""

REFUSED_ATTEMPTS: Final = 3
"""Tries where nothing listens: enough for a restart, not so many that a typing mistake costs a coffee."""


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


def wait_before_next(
    failures: int, attempts: int, *, status: int | None = None, retry_after: float | None = None, jitter: float = 0.5
) -> float | None:
    """Decide after the ``failures``-th failure.

    Args:
        failures: how often it has failed, this time included (1 or more).
        attempts: tries allowed in all.
        status: what the server answered; None where the connection failed.
        retry_after: seconds the server asks for.
        jitter: a random number in [0, 1), so that many clients do not come back together.

    Returns:
        Seconds to wait before the next try, or None to give up.
    """
    if failures >= attempts or (status is not None and status not in RETRIABLE):
        return None
    backoff = min(LONGEST_BACKOFF, FIRST_WAIT * 2.0 ** (failures - 1)) * (0.5 + jitter)
    if retry_after is None:
        return backoff
    if retry_after > LONGEST_RETRY_AFTER:
        return None
    # A little later than asked, never earlier.
    return retry_after + min(backoff, 0.25) * jitter
