"""Times as the tables have them: milliseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_stored(at: datetime) -> int:
    """Return a time as it is stored."""
    return (at - _BEGINNING) // timedelta(milliseconds=1)


def from_stored(value: int) -> datetime:
    """Return a stored time."""
    return _BEGINNING + timedelta(milliseconds=value)
