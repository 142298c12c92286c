"""Chooses a scheme for one repository's host, and keeps what convinced it."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from haulout.registry.auth.basic import Basic
from haulout.registry.auth.bearer import Bearer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from haulout.http import Answer, Request
    from haulout.registry.auth.challenge import Challenge
    from haulout.registry.auth.scheme import Party, Scheme

SCHEMES: Final[tuple[type[Scheme], ...]] = (Bearer, Basic)
"""The strongest first."""


def choose(challenges: Iterable[Challenge]) -> tuple[type[Scheme], Challenge] | None:
    """Choose the strongest scheme that can answer one of the challenges, and that challenge."""
    offered = tuple(challenges)
    return next(((kind, one) for kind in SCHEMES for one in offered if kind.can_answer(one)), None)


class Authorizer:
    """Makes Authorization headers, for one origin only. Safe to use from several threads."""

    def __init__(self, party: Party) -> None:
        self._party = party
        self._lock = Lock()
        self._scheme: Scheme | None = None

    def header(self, scopes: frozenset[str], ask: Callable[[Request], Answer]) -> str | None:
        """Make the header for a request, None before any challenge. One thread asks for all.

        Args:
            scopes: what a token must allow.
            ask: sends what the scheme needs to be sent.
        """
        with self._lock:
            if self._scheme is None:
                return None
            flow = self._scheme.authorize(scopes)
            try:
                request = next(flow)
                while True:
                    request = flow.send(ask(request))
            except StopIteration as done:
                header: str | None = done.value
                return header

    def answer(self, status: int, offered: Iterable[Challenge], scopes: frozenset[str], refused: str | None) -> bool:
        """Take up a challenge.

        Args:
            status: 401, or 403 for a scope that is missing.
            offered: the challenges.
            scopes: as for :meth:`header`.
            refused: the Authorization header that was sent.

        Returns:
            Whether the request is worth repeating.
        """
        chosen = choose(offered)
        if chosen is None or (status == 403 and not chosen[1].is_insufficient_scope):
            return False
        kind, challenge = chosen
        with self._lock:
            if type(self._scheme) is not kind:
                self._scheme = kind(self._party)
            return self._scheme.take_up(challenge, scopes, refused)
