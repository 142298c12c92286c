"""Argument types of ``haulout evidence``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from haulout.cli.params import StringParam
from haulout.errors import UsageError

if TYPE_CHECKING:
    import click

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


class TimeParam(StringParam):
    """A time in RFC 3339, or a date; without an offset, in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: ARG002
        """Parse it."""
        try:
            found = datetime.fromisoformat(str(value).strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError) as exc:
            raise UsageError(
                f"{str(value)[:60]!r} is not a time", hint="for example: --at 2026-01-31 or --at 2026-01-31T12:00:00Z"
            ) from exc


class BytesParam(StringParam):
    """Bytes in hexadecimal, of one of some sizes."""

    name = "bytes"

    def __init__(self, *sizes: int) -> None:
        self._sizes = sizes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:  # noqa: ARG002
        """Parse it."""
        text = str(value).strip()
        if not _HEX.fullmatch(text) or len(text) // 2 not in self._sizes:
            digits = " or ".join(str(2 * size) for size in self._sizes)
            raise UsageError(f"{text[:20]!r} is not {digits} hexadecimal digits")
        return bytes.fromhex(text)
