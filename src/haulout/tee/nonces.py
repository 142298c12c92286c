"""Nonces: each is given to one session, and answered once, in time. For brokers.

A nonce reaches the evidence in its report data; how it gets there, together with the guest's key, is up to the
protocol. The caller brings the clock and the random bytes.
"""

from __future__ import annotations

import hmac
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from datetime import datetime

REPORT_DATA: Final = 64
"""Bytes that a guest can put into evidence, whatever the TEE."""
MIN_NONCE: Final = 16
MAX_PENDING: Final = 100_000
"""Nonces pending at once: requests without answers must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One nonce: the session that it was given to, and when."""

    nonce: bytes = field(repr=False)
    session: str
    issued: datetime
    seconds: int


def as_report_data(digest: bytes) -> bytes:
    """Return report data that holds a digest: zeros behind it.

    Raises:
        ValueError: it is empty, or does not fit. It is never cut: a part of a digest binds less than the digest.
    """
    if not 0 < len(digest) <= REPORT_DATA:
        raise ValueError(f"{len(digest)} bytes do not fit into {REPORT_DATA} bytes of report data")
    return digest.ljust(REPORT_DATA, b"\0")


def require_fresh(challenge: Challenge, session: str, at: datetime) -> None:
    """Refuse an answer of another session, or one that comes too late.

    Raises:
        Refused: it does not answer this challenge.
    """
    if not hmac.compare_digest(challenge.session.encode(), session.encode()):
        raise Refused(Rule.FRESHNESS, "its nonce was given to another session")
    age = (at - challenge.issued).total_seconds()
    # A clock that went back makes no answer valid for longer.
    if not 0 <= age <= challenge.seconds:
        raise Refused(Rule.FRESHNESS, f"its nonce expired: it was valid for {challenge.seconds} seconds")


class Nonces:
    """The pending nonces. Safe for threads: of two that redeem the same nonce, one is refused."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._pending: dict[bytes, Challenge] = {}
        self._lock = threading.Lock()

    def issue(self, nonce: bytes, session: str, at: datetime) -> Challenge:
        """Record a nonce that is given to a session.

        Args:
            nonce: fresh random bytes, at least 16.
            session: the session.
            at: the time.

        Raises:
            ValueError: the nonce is too short, or was issued before.
            Refused: too many nonces are pending.
        """
        if len(nonce) < MIN_NONCE:
            raise ValueError(f"a nonce of {len(nonce)} bytes can be guessed")
        challenge = Challenge(nonce, session, at, self._seconds)
        with self._lock:
            if len(self._pending) >= MAX_PENDING:
                self._forget(at)
            if len(self._pending) >= MAX_PENDING:
                raise Refused(Rule.FRESHNESS, "too many nonces are waiting for an answer", hint="try again later")
            if nonce in self._pending:
                raise ValueError("a nonce is used once")
            self._pending[nonce] = challenge
        return challenge

    def redeem(self, nonce: bytes, session: str, at: datetime) -> Challenge:
        """Accept the answer to a nonce, which is used up even if the answer is refused.

        Raises:
            Refused: the nonce is unknown, used, of another session, or expired.
        """
        with self._lock:
            challenge = self._pending.pop(nonce, None)
        if challenge is None:
            raise Refused(Rule.FRESHNESS, "its nonce is not known, or was used before")
        require_fresh(challenge, session, at)
        return challenge

    def _forget(self, at: datetime) -> None:
        # The oldest expire first: they are at the front.
        for nonce, challenge in list(self._pending.items()):
            if (at - challenge.issued).total_seconds() <= challenge.seconds:
                break
            del self._pending[nonce]
