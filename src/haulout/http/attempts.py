"""The tries of one operation: sleeps between them, or raises what finally went wrong."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from haulout.http import retry
from haulout.http.errcode import failure
from haulout.http.failures import is_refusal, may_pass, translate

if TYPE_CHECKING:
    from haulout.http.errcode import Answer


class Patience:
    """Counts the failures of one operation, whoever they are with."""

    def __init__(self, what: str, attempts: int) -> None:
        """Begin an operation that is called ``what`` in errors and may be tried ``attempts`` times."""
        self._what = what
        self._attempts = attempts
        self._failures = 0

    def progressed(self) -> None:
        """Forget the failures so far: the operation has moved on."""
        self._failures = 0

    def after(self, error: BaseException, who: str) -> None:
        """Wait after a broken connection to ``who``.

        Raises:
            UnreachableError, RegistryError: there is no point in trying again.
        """
        self._failures += 1
        attempts = min(self._attempts, retry.REFUSED_ATTEMPTS) if is_refusal(error) else self._attempts
        wait = retry.wait_before_next(self._failures, attempts, jitter=_jitter()) if may_pass(error) else None
        if wait is None:
            raise translate(error, who, self._what) from error
        time.sleep(wait)

    def after_answer(self, answer: Answer, who: str) -> None:
        """Wait after an answer that may be better next time.

        Raises:
            HauloutError: what the answer means, where it will not be.
        """
        self._failures += 1
        wait = retry.wait_before_next(
            self._failures,
            self._attempts,
            status=answer.status,
            retry_after=retry.parse_retry_after(answer.headers.get("retry-after")),
            jitter=_jitter(),
        )
        if wait is None:
            raise failure(answer, self._what, who)
        time.sleep(wait)


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads load, keeps no secret
