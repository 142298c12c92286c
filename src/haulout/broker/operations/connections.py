"""Connections that cannot be held open by doing nothing, or next to nothing.

uvicorn bounds the size of a request's head, the number of connections in all, and the idle time between two requests.
It waits for ever for the first request, and for the rest of a head; and one client may have all connections.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

HEAD_SECONDS: Final = 10.0
"""For a request's head, from the connection or from its first byte."""
MOST_EACH: Final = 64
"""Connections of one address."""


@dataclass(slots=True)
class Connections:
    """Makes the protocol of each connection; give ``http=connections`` to uvicorn.

    Attributes:
        seconds: for a request's head.
        most: of one address.
        base: the protocol that is bounded.
    """

    seconds: float = HEAD_SECONDS
    most: int = MOST_EACH
    base: type[H11Protocol] = H11Protocol
    open: Counter[str] = field(default_factory=Counter)
    _made: type[BoundedConnection] | None = None

    def __call__(self, **given: Any) -> BoundedConnection:
        """Make one, as uvicorn asks for it."""
        if self._made is None:
            # Its own methods first, then what the base adds to uvicorn's.
            plain = self.base is H11Protocol
            self._made = BoundedConnection if plain else type("Connection", (BoundedConnection, self.base), {})
        return self._made(self, **given)


class BoundedConnection(H11Protocol):
    """One connection."""

    def __init__(self, bounds: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._bounds = bounds
        self._timer: asyncio.TimerHandle | None = None
        self._counted = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; end at once where the client has too many."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if address:
            self._counted = address
            self._bounds.open[address] += 1
            if self._bounds.open[address] > self._bounds.most:
                transport.abort()
                return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on for the rest of a head, or stop waiting."""
        super().data_received(data)
        if self._serves():
            self._stop()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        if self._counted:
            self._bounds.open[self._counted] -= 1
            if not self._bounds.open[self._counted]:
                del self._bounds.open[self._counted]
            self._counted = ""
        super().connection_lost(exc)

    def _serves(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever uvicorn declares
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self._bounds.seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
