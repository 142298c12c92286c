"""A request as a value: what is sent, apart from who may send it and how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, without credentials."""

    method: str
    target: str
    """A URL, a path of the host (``/v2/…``), or, for :class:`Access`, a path of the repository (``blobs/…``)."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Callable[[], bytes | Iterable[bytes]] | None = field(default=None, repr=False)
    """Makes the body anew for each try."""
    scopes: frozenset[str] = frozenset()
    """What a token must allow."""
    answer_seconds: float | None = None
    """Longest silence before the answer; None is the usual one."""
