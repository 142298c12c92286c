"""The attempts of one operation: whether and when to try again, and what finally went wrong."""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING, Final

from haulout.errors import DeniedError, HauloutError, NotFoundError, RegistryError, UnreachableError
from haulout.http.failures import is_refusal, may_pass, translate

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from haulout.http.messages import Answer

    Translator: TypeAlias = Callable[[Answer, str, str, str], HauloutError]
    """Chooses the error for a failed answer: given the answer, what was asked, the host as the user spells it, and who
    redirected there."""

RETRIABLE: Final = frozenset({408, 429, 500, 502, 503, 504, *range(520, 525)})
"""Answers that may be different a moment later. No other 4xx is: asking again would only be rude. 520 to 524 are what
Cloudflare answers where the server behind it does not."""
FIRST_WAIT: Final = 0.25
LONGEST_BACKOFF: Final = 16.0
LONGEST_RETRY_AFTER: Final = 60.0
"""Longest wait, in seconds, that a server may impose; asked for more, we say so and give up."""
REFUSED_ATTEMPTS: Final = 3
"""Attempts where nothing listens: enough for a restart, not so many that a typing mistake costs a coffee."""

_WANTS_TLS: Final = re.compile(rb"http request .{0,40}https (?:server|port)", re.IGNORECASE)
"""What Go's server and nginx say to plain HTTP."""
_PAGE_HINT: Final = "a proxy or login page probably answered in its place; check the host name and proxy settings"


def failure(
    answer: Answer, what: str, host: str, sender: str = "", *, details: str = "", login: str | None = None
) -> HauloutError:
    """Choose the error for a failed answer.

    Args:
        answer: status, headers and body.
        what: what was asked, to begin the line with.
        host: the server as the user spells it.
        sender: who redirected there; "": nobody.
        details: the server's own words, fit to be shown.
        login: the command that helps where it denies.
    """
    if sender:
        # The user has chosen the sender only: nothing is wanted from them that the other host says.
        host, login = (
            f"{sender} redirects to {host}, which",
            f"{sender} has chosen that host, and no login of yours counts there",
        )
    page = answer.is_web_page
    shown = "a web page, not an answer of the service" if page else details
    text = f"{what}: {host} answers {answer.phrase}{f' ({shown})' if shown else ''}"
    wait = answer.retry_after
    text += f"; it asks to wait {wait:.0f} s" if wait else ""
    if answer.limits_rate:
        return RegistryError(text, status=answer.status, hint="it limits requests per client; try again later")
    if answer.status in {401, 403}:
        return DeniedError(text, hint=login)
    if answer.status == 404:
        text = text if page or sender else f"{what}: not found in {host}"
        return NotFoundError(text, hint=_PAGE_HINT if page else None)
    if answer.status == 407:
        hint = "write user and password into http_proxy: http://USER:PASSWORD@HOST:PORT"
        return UnreachableError(f"{what}: the proxy on the way to {host} answers {answer.phrase}", hint=hint)
    if answer.status == 400 and _WANTS_TLS.search(answer.body):
        return RegistryError(f"{what}: {host} speaks HTTPS on this port", status=400, hint="leave --plain-http out")
    return RegistryError(text, status=answer.status, hint=_PAGE_HINT if page else None)


class Attempts:
    """Counts the failures of one operation, with all servers together.

    Args:
        what: what is asked, to begin errors with.
        allowed: attempts in all, the first included.
        failure: turns the last failed answer into an error.
    """

    def __init__(self, what: str, allowed: int, failure: Translator = failure) -> None:
        self._what = what
        self._allowed = allowed
        self._failure = failure
        self._failures = 0

    @property
    def number(self) -> int:
        """Which attempt is next, counted from 1."""
        return self._failures + 1

    def progressed(self) -> None:
        """Forget the failures so far: the operation has moved on."""
        self._failures = 0

    def after(self, error: BaseException, host: str) -> None:
        """Wait after a broken connection to ``host``.

        Raises:
            UnreachableError, RegistryError: another attempt would not help.
        """
        self._failures += 1
        allowed = min(self._allowed, REFUSED_ATTEMPTS) if is_refusal(error) else self._allowed
        wait = wait_before_next(self._failures, allowed, jitter=_jitter()) if may_pass(error) else None
        if wait is None:
            raise translate(error, host, self._what) from error
        time.sleep(wait)

    def after_answer(self, answer: Answer, host: str, sender: str = "") -> None:
        """Wait after an answer of ``host``, to which ``sender`` may have redirected, that may be better next time.

        Raises:
            HauloutError: what the answer means, where another attempt would not help.
        """
        self._failures += 1
        wait = wait_before_next(
            self._failures,
            self._allowed,
            status=429 if answer.limits_rate else answer.status,
            retry_after=answer.retry_after,
            jitter=_jitter(),
        )
        if wait is None:
            raise self._failure(answer, self._what, host, sender)
        time.sleep(wait)


def wait_before_next(
    failures: int, attempts: int, *, status: int | None = None, retry_after: float | None = None, jitter: float = 0.5
) -> float | None:
    """Decide after the ``failures``-th failure. Pure.

    Args:
        failures: how often it has failed, this time included (1 or more).
        attempts: attempts allowed in all.
        status: what the server answered; None where the connection failed.
        retry_after: seconds the server asks for.
        jitter: a random number in [0, 1), so that many clients do not come back together.

    Returns:
        Seconds to wait before the next attempt, or None to give up.
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


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads load, keeps no secret
