"""Options of verbs that talk to a broker as one of its owners, and times that several of them take."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from haulout.cli import options
from haulout.cli.params import StringParam, spelling
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.brokers import BrokerAccess
    from haulout.cli.session import Session

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_TOKEN: Final = 4096


def access(function: Callable[..., Any], *, required: bool = True) -> Callable[..., Any]:
    """Add the options that say which broker, and by what its owner is known."""
    broker = click.option(
        "--broker",
        "url",
        metavar="URL",
        envvar="HAULOUT_BROKER",
        required=required,
        help="The broker, such as https://broker.example.com:8443.",
    )
    token = click.option(
        "--token-file",
        metavar="FILE",
        envvar="HAULOUT_BROKER_TOKEN_FILE",
        type=click.Path(),
        help="File with the owner's token.  [default: a client certificate in certs.d]",
    )
    return broker(token(options.registry(function)))


def optional(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same options to a verb that can do without a broker."""
    return access(function, required=False)


def opened(session: Session, url: str, token_file: str | None) -> BrokerAccess:
    """Return how to reach the broker.

    Raises:
        UsageError: the URL is not one, or the token would be sent in clear; or the file holds no token.
        NotFoundError: there is no such file.
    """
    from pathlib import Path  # noqa: PLC0415 - only here

    from haulout.brokers import BrokerAccess  # noqa: PLC0415 - loads the HTTP client
    from haulout.local import read_head  # noqa: PLC0415

    token = None
    if token_file is not None:
        token = read_head(Path(token_file), _LONGEST_TOKEN + 1).decode("ascii", "replace").strip()
        if not re.fullmatch(r"[!-~]{1,4096}", token):
            raise UsageError(
                f"{token_file} does not hold a token", hint="haulout broker owner --token-out FILE makes one"
            )
    return BrokerAccess(url, token, plain_http=bool(session.connection.get("plain_http")))


class MomentParam(StringParam):
    """A time, or how far it is from now: ago, or with ``ahead`` from now on."""

    name = "time"

    def __init__(self, *, ahead: bool = False) -> None:
        self._ahead = ahead

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse it."""
        text = str(value).strip()
        try:
            if far := re.fullmatch(r"(\d{1,6})([smhd])", text):
                span = timedelta(seconds=int(far[1]) * _SECONDS[far[2]])
                return datetime.now(UTC) + (span if self._ahead else -span)
            found = datetime.fromisoformat(text)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            far_off = "from now on" if self._ahead else "ago"
            hint = f"for example 2026-01-31T08:00:00Z, 2026-01-31, or 30m, 12h, 7d {far_off}"
            raise UsageError(f"{spelling(param, ctx)} takes a time, not {text[:80]!r}", hint=hint) from None


def days(number: int) -> datetime:
    """Return the time so many days from now; negative: ago."""
    return datetime.now(UTC) + timedelta(days=number)
