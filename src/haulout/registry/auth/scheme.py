"""What an authentication scheme is: it decides, and leaves the sending to its caller.

To add one, write a module with a subclass of :class:`Scheme`, and enter it in ``authorizer.SCHEMES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from haulout.http import Answer, Origin, Request

if TYPE_CHECKING:
    from haulout.registry.auth.challenge import Challenge
    from haulout.registry.options import Credentials

Flow: TypeAlias = Generator[Request, Answer, str | None]
"""Yields the requests that it takes, each to a whole URL; receives their answers; returns the Authorization header."""


@dataclass(frozen=True, slots=True)
class Party:
    """The registry that is to be convinced, and the user who asks."""

    name: str
    """The host as the user spells it."""
    user_agent: str
    origin: Callable[[], Origin]
    credentials: Callable[[], Credentials | None]
    """Finds them when first needed: helpers are programs."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts that may be given them, wherever they are."""


class Scheme(ABC):
    """One scheme on behalf of one repository at one host. Called by one thread at a time."""

    name: ClassVar[str]
    """As challenges have it, in lower case."""

    def __init__(self, party: Party) -> None:
        self.party = party

    @classmethod
    def can_answer(cls, challenge: Challenge) -> bool:
        """Return whether a challenge has what it takes to be answered."""
        return challenge.scheme == cls.name

    @abstractmethod
    def authorize(self, scopes: frozenset[str]) -> Flow:
        """Make the Authorization header for a request that needs ``scopes``; None: send none."""

    @abstractmethod
    def take_up(self, challenge: Challenge, scopes: frozenset[str], refused: str | None) -> bool:
        """Take up a challenge.

        Args:
            challenge: one that :meth:`can_answer`.
            scopes: as for :meth:`authorize`.
            refused: the Authorization header that the challenge answers, None where none was sent.

        Returns:
            Whether the request is worth repeating.
        """
